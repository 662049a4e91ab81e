"""Names of classes that are imported when they are first used: what a run does not need costs it nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Generic, TypeVar

Base = TypeVar("Base")


class Registry(Mapping[str, type[Base]], Generic[Base]):
    """Maps a name to a class that is given as ``package.module:Class``."""

    def __init__(self, locations: Mapping[str, str]) -> None:
        self._locations = locations

    def __getitem__(self, name: str) -> type[Base]:
        module, class_name = self._locations[name].split(":")
        found: type[Base] = getattr(import_module(module), class_name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._locations)

    def __len__(self) -> int:
        return len(self._locations)

    def __contains__(self, name: object) -> bool:
        return name in self._locations
