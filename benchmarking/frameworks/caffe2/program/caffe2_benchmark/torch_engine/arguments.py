"""The arguments of an operator, each read as its required type."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

from ..errors import NetError


class Arguments:
    def __init__(self, arguments: Sequence[Any]) -> None:
        self._by_name: Dict[str, Any] = {argument.name: argument for argument in arguments}

    def has(self, *names: str) -> bool:
        """Whether all of them are given."""
        return all(name in self._by_name for name in names)

    def integer(self, name: str, default: int) -> int:
        return int(self._single(name, "i", "a whole number", default))

    def number(self, name: str, default: float) -> float:
        return float(self._single(name, "f", "a number", default))

    def boolean(self, name: str, default: bool) -> bool:
        return bool(self._single(name, "i", "0 or 1", int(default)))

    def text(self, name: str, default: str) -> str:
        value = bytes(self._single(name, "s", "a text", default.encode()))
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise NetError("the argument %r is not text: %r" % (name, value[:40])) from None

    def net(self, name: str) -> Optional[Any]:
        """A NetDef; None: it is missing."""
        return self._single(name, "n", "a net", None)

    def value(self, name: str, default: Any) -> Any:
        """The single value of any kind: a whole number, a number or bytes."""
        argument = self._by_name.get(name)
        if argument is None:
            return default
        return next(
            (getattr(argument, field) for field in ("i", "f", "s") if argument.HasField(field)), default
        )

    def integers(self, name: str) -> Optional[List[int]]:
        return self._repeated(name, "ints")

    def numbers(self, name: str) -> Optional[List[float]]:
        return self._repeated(name, "floats")

    def texts(self, name: str) -> Optional[List[bytes]]:
        return self._repeated(name, "strings")

    def _single(self, name: str, field: str, wanted: str, default: Any) -> Any:
        argument = self._by_name.get(name)
        if argument is None:
            return default
        if not argument.HasField(field):
            raise NetError("the argument %r is not %s" % (name, wanted))
        return getattr(argument, field)

    def _repeated(self, name: str, field: str) -> Optional[List[Any]]:
        argument = self._by_name.get(name)
        return None if argument is None else list(getattr(argument, field))
