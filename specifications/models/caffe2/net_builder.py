"""Builds Caffe2 nets message by message. Needs only what the benchmark program needs, not Caffe2."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarking/frameworks/caffe2/program"))

from caffe2_benchmark import messages  # noqa: E402

Value = float | int | bool | str | bytes | list[int] | list[float] | list[bytes]


def add_argument(operator: Any, name: str, value: Value) -> None:
    """The field that Caffe2's own helper would choose for the value's type."""
    argument = operator.arg.add(name=name)
    if isinstance(value, float):
        argument.f = value
    elif isinstance(value, int):
        argument.i = int(value)
    elif isinstance(value, str | bytes):
        argument.s = value.encode() if isinstance(value, str) else value
    elif isinstance(value[0], bytes):
        argument.strings.extend(value)
    elif isinstance(value[0], float):
        argument.floats.extend(value)
    else:
        argument.ints.extend(value)


class NetBuilder:
    """A net under construction; remembers the channels of each blob and the shape of each parameter."""

    def __init__(self, name: str, data: str, channels: int) -> None:
        self.net = messages.NetDef(name=name)
        self.data = data
        self.parameters: dict[str, tuple[int, ...]] = {}
        self._channels = {data: channels}

    def operator(
        self, type_: str, inputs: list[str], outputs: list[str], arguments: dict[str, Value] | None = None
    ) -> str:
        definition = self.net.op.add(type=type_)
        definition.input.extend(inputs)
        definition.output.extend(outputs)
        for name, value in (arguments or {}).items():
            add_argument(definition, name, value)
        return outputs[0]

    def parameter(self, name: str, shape: tuple[int, ...]) -> str:
        self.parameters[name] = shape
        return name

    def convolution(
        self, source: str, output: str, channels: int, kernel: int, stride: int = 1, pad: int = 0
    ) -> str:
        weight = self.parameter(f"{output}_w", (channels, self._channels[source], kernel, kernel))
        bias = self.parameter(f"{output}_b", (channels,))
        self._channels[output] = channels
        geometry: dict[str, Value] = {"stride": stride, "pad": pad, "kernel": kernel}
        return self.operator("Conv", [source, weight, bias], [output], geometry)

    def relu(self, blob: str) -> str:
        return self.operator("Relu", [blob], [blob])

    def pool(self, type_: str, source: str, output: str, arguments: dict[str, Value]) -> str:
        self._channels[output] = self._channels[source]
        return self.operator(type_, [source], [output], arguments)

    def concat(self, sources: list[str], output: str) -> str:
        self._channels[output] = sum(self._channels[source] for source in sources)
        return self.operator("Concat", sources, [output, f"_{output}_dims"], {"order": "NCHW"})

    def dropout(self, blob: str) -> str:
        return self.operator("Dropout", [blob], [blob, f"_{blob}_mask"], {"ratio": 0.5, "is_test": 1})

    def fully_connected(self, source: str, output: str, inputs: int, outputs: int) -> str:
        weight = self.parameter(f"{output}_w", (outputs, inputs))
        bias = self.parameter(f"{output}_b", (outputs,))
        return self.operator("FC", [source, weight, bias], [output])

    def finish(self, output: str) -> Any:
        self.net.external_input.extend([self.data, *self.parameters])
        self.net.external_output.append(output)
        return self.net
