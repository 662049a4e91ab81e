"""A benchmark program without a runtime: a product of two matrices, to find out how noisy a machine is."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import AbstractSet, Any

from .costs import OperatorFacts
from .errors import ModelError
from .flags import Settings
from .kernels import Observation
from .main import leave, run
from .program import BackendRow, LoadedModel, Preparation, Program

SIZE = 400
"""Of the square matrices: about a millisecond."""


class _Product(LoadedModel):
    operator_names: Sequence[str] = ()
    operators_missing = "the product is a single operator"

    def __init__(self, seed: int) -> None:
        import numpy as np

        random = np.random.default_rng(seed)
        self._left, self._right = random.random((2, SIZE, SIZE), dtype=np.float32)
        self._product = np.empty((SIZE, SIZE), dtype=np.float32)
        self._multiply = np.matmul

    def run(self) -> None:
        self._multiply(self._left, self._right, out=self._product)

    def run_operators(self) -> list[int]:
        return []

    def observe(self) -> Observation:
        return Observation({}, "operators", ())

    def operators(self) -> Sequence[OperatorFacts]:
        return ()

    def output_names(self) -> Sequence[str]:
        return ()

    def output(self, name: str) -> Any:
        raise ModelError("there is no output %r" % name)


class _Preparation(Preparation):
    model_name = "matrix_product"

    def __init__(self, settings: Settings) -> None:
        import numpy as np  # noqa: F401 - before workers are forked

        self._seed = settings.seed

    def load(self, inputs: dict[str, Any], wanted: AbstractSet[str]) -> LoadedModel:
        return _Product(self._seed)


class MatrixProduct(Program[Settings]):
    name = "matrix_product"
    description = "multiplies two matrices"
    settings = Settings

    def backends(self) -> list[BackendRow]:
        return [{"name": "default", "available": True, "reason": "", "engine": ""}]

    def prepare(self, settings: Settings) -> Preparation:
        return _Preparation(settings)


if __name__ == "__main__":
    leave(run(MatrixProduct(), sys.argv[1:]))
