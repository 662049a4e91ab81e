"""Results as the blobs of their row, and back.

What stays the same from run to run is one document, stored once; the rest of the meta and of the net is the
detail; the operators' numbers are columns of 32-bit floats (seven digits); the samples are exact.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from benchmarking.results import documents
from benchmarking.results.model import NET_DELAY, Result

STABLE = (
    *("net_name", "metric", "identifier", "framework", "backend", "platform_hash", "platform"),
    *("device", "program", "control_program", "kernels", "group", "harness_version", "user"),
    *("iterations", "warmup", "input_shapes", "model_md5"),
)
"""The fields of the meta that are in the document."""
OPERATOR_FACTS = ("type", "unit", "cost", "kernel")
SAMPLES = (
    *("values", "pairs", "control_values", "control_pairs", "cpu_values", "control_cpu_values"),
    *("device_values", "control_device_values"),
)
_LEVEL = 6
_ABSENT: list[Any] = []
"""In a column: the row has no such value."""


@dataclass(frozen=True)
class Packed:
    document: bytes
    detail: bytes
    operators: bytes | None
    samples: bytes | None

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.document).hexdigest()


def pack(result: Result) -> Packed:
    given = documents.result_json(result)
    # In the order in which they are unpacked; others than the harness send a net behind its operators.
    given["types"] = sorted(given["types"], key=lambda one: _is_operator(result, one))
    samples = [[one.pop(name, ()) for name in SAMPLES] for one in given["types"]]
    whole = documents.jsonable(given)
    meta, types = whole["meta"], whole["types"]
    own = [one for one in types if not _is_operator(result, one)]
    operators = types[len(own) :]
    facts = [{name: one.pop(name) for name in OPERATOR_FACTS if name in one} for one in operators]
    document = {"meta": {name: meta.pop(name) for name in STABLE if name in meta}, "operators": facts}
    return Packed(
        document=_compressed(document),
        detail=_compressed({**whole, "types": own}),
        operators=zlib.compress(_columns(operators), _LEVEL) if operators else None,
        samples=_packed_samples(samples) if any(map(any, samples)) else None,
    )


def _is_operator(result: Result, one: Mapping[str, Any]) -> bool:
    return result.test.metric == "delay" and one["type"] != NET_DELAY


def unpack(packed: Packed) -> Result:
    document, detail = (orjson.loads(zlib.decompress(one)) for one in (packed.document, packed.detail))
    columns = zlib.decompress(packed.operators) if packed.operators else None
    rows = _rows(columns) if columns else ({} for _ in document["operators"])
    operators = [{**facts, **row} for facts, row in zip(document["operators"], rows, strict=True)]
    types = [*detail["types"], *operators]
    if packed.samples:
        for one, arrays in zip(types, _unpacked_samples(packed.samples), strict=True):
            one.update(arrays)
    return documents.result_of({**detail, "meta": {**detail["meta"], **document["meta"]}, "types": types})


def _compressed(value: Any) -> bytes:
    return zlib.compress(orjson.dumps(value, option=orjson.OPT_SORT_KEYS), _LEVEL)


# --- columns ------------------------------------------------------------------------------------------------


def _columns(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The number of bytes of the head, the head, and the columns of floats: those of the other columns are
    in the head.
    """
    flat = [dict(_flat(row)) for row in rows]
    names = sorted({name for row in flat for name in row})
    floats, others = [], {}
    for name in names:
        values = [row.get(name, _ABSENT) for row in flat]
        if all(isinstance(one, float) for one in values):
            floats.append(name)
        else:
            others[name] = values if any(one != values[0] for one in values) else values[:1]
    head = orjson.dumps({"rows": len(rows), "floats": floats, "others": others})
    numbers = np.array([[row[name] for row in flat] for name in floats], dtype="<f4")
    return struct.pack("<I", len(head)) + head + _planes(numbers)


def _rows(content: bytes) -> Iterator[dict[str, Any]]:
    (length,) = struct.unpack_from("<I", content)
    head = orjson.loads(content[4 : 4 + length])
    count, floats = head["rows"], head["floats"]
    numbers = _from_planes(content[4 + length :], "<f4").reshape(len(floats), count)
    columns = {
        **{name: values * count if len(values) == 1 else values for name, values in head["others"].items()},
        **{name: [float(f"{one:.7g}") for one in row] for name, row in zip(floats, numbers, strict=True)},
    }
    for number in range(count):
        yield _nested({name: values[number] for name, values in columns.items()})


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, one in value.items():
        if isinstance(one, dict) and one:
            yield from _flat(one, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", one


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in flat.items():
        if value == _ABSENT:
            continue
        *parents, own = name.split(".")
        inner = found
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[own] = value
    return found


# --- samples ------------------------------------------------------------------------------------------------


def _packed_samples(samples: Sequence[Sequence[Sequence[float]]]) -> bytes:
    """Whole numbers, or microseconds that are whole nanoseconds, as 32-bit integers; others as they are."""
    head, parts = [], []
    for arrays in samples:
        entry = []
        for values in arrays:
            kind, content = _packed_array(values)
            entry.append([kind, len(values)])
            parts.append(content)
        head.append(entry)
    start = orjson.dumps(head)
    return zlib.compress(struct.pack("<I", len(start)) + start + b"".join(parts), _LEVEL)


def _packed_array(values: Sequence[Any]) -> tuple[str, bytes]:
    if not values:
        return "", b""
    if all(isinstance(one, int) and abs(one) < 2**31 for one in values):
        return "i", _planes(np.array(values, dtype="<i4"))
    exact = np.array([float(one) for one in values], dtype="<f8")
    if np.all(np.abs(exact) < 2**31 / 1000):
        nanoseconds = np.rint(exact * 1000).astype("<i4")
        if np.array_equal(nanoseconds / 1000.0, exact):
            return "n", _planes(nanoseconds)
    return "f", _planes(exact)


def _unpacked_samples(content: bytes) -> Iterator[dict[str, list[Any]]]:
    whole = zlib.decompress(content)
    (length,) = struct.unpack_from("<I", whole)
    place = 4 + length
    for entry in orjson.loads(whole[4:place]):
        found = {}
        for name, (kind, count) in zip(SAMPLES, entry, strict=True):
            if not count:
                continue
            dtype = "<f8" if kind == "f" else "<i4"
            size = count * int(dtype[-1])
            array = _from_planes(whole[place : place + size], dtype)
            found[name] = (array / 1000.0 if kind == "n" else array).tolist()
            place += size
        yield found


def _planes(numbers: Any) -> bytes:
    """The first bytes of all numbers, then the second bytes ...: equal bytes beside each other compress."""
    flat = numbers.ravel()
    planes: bytes = flat.view("u1").reshape(-1, flat.itemsize).T.tobytes()
    return planes


def _from_planes(content: bytes, dtype: str) -> Any:
    size = np.dtype(dtype).itemsize
    return np.frombuffer(content, "u1").reshape(size, -1).T.copy().view(dtype).ravel()
