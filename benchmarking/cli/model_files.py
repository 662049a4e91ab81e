"""Creates benchmarks from model files without a specification."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from benchmarking.cli.argument_types import quoted
from benchmarking.cli.options import MODEL_SUFFIXES
from benchmarking.errors import UsageError
from benchmarking.files import atomic_file
from benchmarking.frameworks.frameworks import framework_names, make_framework
from benchmarking.frameworks.kit.errors import ModelError
from benchmarking.frameworks.own_program import OwnProgramFramework
from benchmarking.specs.model import BenchmarkSpec
from benchmarking.specs.reader import LoadedBenchmark
from benchmarking.specs.tensor_types import is_whole

if TYPE_CHECKING:
    from benchmarking.frameworks.kit.signature import Signature, TensorSignature

Shape = tuple[int, ...]
Files = dict[str, Path]
"""Maps the key of ``model.files`` to the file."""

BATCH, CHANNELS, IMAGE, SEQUENCE = 1, 3, 224, 128
"""The sizes of dimensions that a file leaves open; all others are 1."""
ITERATIONS, WARMUP = 50, 5

logger = logging.getLogger(__name__)


def benchmarks(
    paths: Sequence[Path],
    *,
    shapes: Mapping[str, Shape],
    threads: int | None = None,
) -> list[LoadedBenchmark]:
    """Creates a benchmark for each model. Consecutive files of different formats belong to the same model.

    Args:
        shapes: by the names of inputs; they override the shapes in a file.

    Raises:
        UsageError: a file cannot be read or is not a model, or its inputs are unknown.
    """
    models = _grouped(paths)
    loaded = [
        LoadedBenchmark(_first(model), _specification(model, shapes, threads), are_hashes_new=True)
        for model in models
    ]
    known = {name for one in loaded for name in one.spec.model.inputs or {}}
    for name in shapes.keys() - known:
        raise UsageError(f"--input: there is no input {quoted(name)}; known are {', '.join(sorted(known))}")
    return loaded


def save(loaded: Sequence[LoadedBenchmark], path: Path) -> None:
    """Writes the specification; of several models, a suite, with ``<stem>_<number>.json`` for each beside it.

    Raises:
        UsageError: a file cannot be written.
    """
    if len(loaded) == 1:
        _write(_portable(loaded[0].spec, path.resolve().parent), path)
        return
    paths = [path.with_name(f"{path.stem}_{number}.json") for number in range(1, len(loaded) + 1)]
    for one, its_path in zip(loaded, paths, strict=True):
        save([one], its_path)
    _write({"meta": {}, "benchmarks": [one.name for one in paths]}, path)


def _portable(spec: BenchmarkSpec, directory: Path) -> dict[str, Any]:
    """The document, in which files below its directory have relative locations, so that both can be moved."""
    value = spec.model_dump(mode="json", exclude_defaults=True)
    for made in value["model"]["formats"].values():
        for file in made["files"].values():
            location = Path(file["location"])
            if location.is_relative_to(directory):
                file["location"] = str(location.relative_to(directory))
    return value


def _write(value: Mapping[str, Any], path: Path) -> None:
    try:
        with atomic_file.writing(path) as stream:
            stream.write((json.dumps(value, indent=2) + "\n").encode())
    except OSError as error:
        reason = "it is a directory; give a file" if path.is_dir() else error.strerror or error
        raise UsageError(f"--save_spec: cannot write {path}: {reason}") from error


def _grouped(paths: Sequence[Path]) -> list[dict[str, Files]]:
    """The files of each model, by format."""
    models: list[dict[str, Files]] = []
    for path in paths:
        if not path.is_file():
            raise UsageError(f"there is no file {quoted(str(path))}")
        name = MODEL_SUFFIXES[path.suffix.lower()]
        key = ("init" if "init" in path.stem else "predict") if name == "caffe2" else "model"
        if not models or key in models[-1].get(name, {}):
            models.append({})
        files = models[-1].setdefault(name, {})
        files[key] = path.resolve()
        if name == "openvino":
            files["weights"] = path.resolve().with_suffix(".bin")
    return models


def _first(model: Mapping[str, Files]) -> Path:
    return next(path for files in model.values() for path in files.values())


def _specification(
    model: Mapping[str, Files], shapes: Mapping[str, Shape], threads: int | None
) -> BenchmarkSpec:
    path = _first(model)
    options = {"run_individual": True, **({"threads": threads} if threads else {})}
    test = {
        "identifier": "delay",
        "metric": "delay",
        "iter": ITERATIONS,
        "warmup": WARMUP,
        "commands": dict.fromkeys(_own_frameworks(), options),
    }
    value = {
        "model": {
            "name": path.stem,
            "formats": {name: {"files": _described(files)} for name, files in model.items()},
            "inputs": _inputs(path, _signature(model), shapes),
        },
        "tests": [test],
    }
    try:
        return BenchmarkSpec.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{path}: {where}: {first['msg']}") from error


def _own_frameworks() -> list[str]:
    return [name for name in framework_names() if isinstance(make_framework(name), OwnProgramFramework)]


def _described(files: Mapping[str, Path]) -> dict[str, Any]:
    return {
        key: {"filename": path.name, "location": str(path), "md5": _md5(path)} for key, path in files.items()
    }


def _md5(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "md5").hexdigest()
    except OSError as error:
        raise UsageError(f"cannot read {quoted(str(path))}: {error.strerror or error}") from error


def _signature(model: Mapping[str, Files]) -> Signature | None:
    """The signature of a file that requires its own names of inputs, if there is one; other files accept
    inputs in their order.

    Raises:
        UsageError: a file is not such a model.
    """
    found = [one for name, files in model.items() if (one := _signature_of(name, files)) is not None]
    return min(found, key=lambda one: one.in_order, default=None)


def _signature_of(model_format: str, files: Mapping[str, Path]) -> Signature | None:
    for framework in map(make_framework, framework_names()):
        if model_format in framework.formats:
            try:
                signature = framework.model_signature(files)
            except ModelError as error:
                raise UsageError(str(error).removeprefix("--model: ")) from error
            if signature is not None:
                return signature
    return None


# --- inputs -------------------------------------------------------------------------------------------------


def _inputs(path: Path, signature: Signature | None, shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """
    Raises:
        UsageError: neither the file nor the user gives the shape of an input.
    """
    if signature is None:
        if not shapes:
            raise UsageError(f"{path.name} does not describe its inputs: add --input NAME:1,3,224,224")
        return {name: {"shapes": [list(shape)], "type": "float"} for name, shape in shapes.items()}
    sizes = {
        known: size
        for one in signature.inputs
        for known, size in zip(one.shape or (), shapes.get(one.name, ()), strict=False)
        if isinstance(known, str) and known
    }
    inputs: dict[str, Any] = {}
    for one in signature.inputs:
        shape = shapes.get(one.name)
        if shape is None:
            shape = _filled(path, one, sizes)
        type_ = one.type or "float"
        inputs[one.name] = {"shapes": [list(shape)], "type": type_}
        if type_ == "bool" or is_whole(type_):
            inputs[one.name]["random"] = {"minimum": 0, "maximum": 1}
    if any("random" in one for one in inputs.values()):  # the values of all are specified, or of none
        for other in inputs.values():
            other.setdefault("random", {"distribution": "normal"})
    return inputs


def _filled(path: Path, one: TensorSignature, sizes: dict[str, int]) -> Shape:
    """The shape with a size for each open dimension; the sizes are logged.

    Args:
        sizes: the sizes of named dimensions, which are the same everywhere; new sizes are added.
    """
    if one.shape is None:
        raise UsageError(
            f"{path.name}: the input {quoted(one.name)} has any number of dimensions: add "
            f"--input {one.name}:1,3,224,224"
        )
    shape = [size if isinstance(size, int) and size > 0 else 0 for size in one.shape]
    opened = [at for at, size in enumerate(shape) if not size]
    for at in opened:
        name = str(one.shape[at])
        usual = _usual(one, shape, at)
        shape[at] = sizes.setdefault(name, usual) if name else usual
    text = ",".join(map(str, shape))
    if opened:
        names = ", ".join(str(one.shape[at] or f"number {at}") for at in opened)
        logger.info(
            "input %s: %s, where the file leaves open: %s (--input %s:%s changes that)",
            one.name,
            "x".join(map(str, shape)),
            names,
            one.name,
            text,
        )
    return tuple(shape)


def _usual(one: TensorSignature, shape: Sequence[int], at: int) -> int:
    """Args:
    shape: with 0 for what is still open.
    """
    if at == 0:
        return BATCH
    if len(shape) == 4:
        channels_last = shape[3] in (1, CHANNELS)
        return CHANNELS if at == 1 and not channels_last else IMAGE
    is_text = len(shape) == 2 and is_whole(one.type or "float")
    return SEQUENCE if at == 1 and (is_text or len(shape) == 3) else 1
