"""The files that a model's file refers to: they have to lie beside it, wherever it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

ONNX = "onnx"


def named_in(model_format: str, files: Mapping[str, Path]) -> Mapping[str, tuple[str, ...]]:
    """The names of these files by the key of ``model.files``; keys that refer to none are left out.

    A file that is not a model is left to the program that runs it, which says so in its own words.
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
