"""The files that a model's file refers to, which have to be next to it everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

ONNX = "onnx"


def named_in(model_format: str, files: Mapping[str, Path]) -> Mapping[str, tuple[str, ...]]:
    """Maps the key of ``model.files`` to the names of the files that it refers to; keys that refer to none
    are left out.

    A file that is not a model is left to the program that runs it, which reports this in its own words.
    """
    if model_format != ONNX:
        return {}
    from benchmarking.frameworks.kit import onnx_file
    from benchmarking.frameworks.kit.errors import ModelError

    found: dict[str, tuple[str, ...]] = {}
    for key, path in files.items():
        try:
            found[key] = onnx_file.read(str(path)).data_files
        except ModelError:
            continue
    return {key: names for key, names in found.items() if names}
