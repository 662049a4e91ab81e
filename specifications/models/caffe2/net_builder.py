"""Builds Caffe2 nets message by message. Needs only what the benchmark program needs, not Caffe2."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from benchmarking.frameworks.caffe2.program.caffe2_benchmark import messages  # noqa: E402

Value = float | int | bool | str | bytes | list[int] | list[float] | list[bytes]
Arguments = dict[str, Any]
"""Of an operator, in their order; each a ``Value``."""


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
    """A net under construction; remembers the channels of each blob and the shape of each parameter.

    Every blob's name is given without ``prefix``. ``fields_set``: write each operator's engine, device and,
    where there is a prefix, name although they are empty, as nets exported by Python code do.
    """

    def __init__(
        self, name: str, data: str, channels: int, *, prefix: str = "", fields_set: bool = False
    ) -> None:
        self.net = messages.NetDef(name=name)
        self.data = prefix + data
        self.parameters: dict[str, tuple[int, ...]] = {}
        self.normalization: dict[str, str] = {}
        """Of the parameters, those of a batch normalization: scale, bias, mean or variance."""
        self._prefix = prefix
        self._fields_set = fields_set
        self._channels = {data: channels}

    def channels(self, blob: str) -> int:
        return self._channels[blob]

    def operator(
        self,
        type_: str,
        inputs: list[str],
        outputs: list[str],
        arguments: Arguments | None = None,
        *,
        channels: int | None = None,
    ) -> str:
        """``channels``: of the first output."""
        definition = self.net.op.add(type=type_)
        definition.input.extend(self._prefix + name for name in inputs)
        definition.output.extend(self._prefix + name for name in outputs)
        for name, value in (arguments or {}).items():
            add_argument(definition, name, value)
        if self._fields_set:
            definition.device_option.SetInParent()
            definition.engine = ""
            if self._prefix:
                definition.name = ""
        if channels is not None:
            self._channels[outputs[0]] = channels
        return outputs[0]

    def parameter(self, name: str, shape: tuple[int, ...]) -> str:
        self.parameters[self._prefix + name] = shape
        return name

    def normalization_parameter(self, name: str, role: str, channels: int) -> str:
        self.normalization[self._prefix + name] = role
        return self.parameter(name, (channels,))

    def convolution(
        self,
        source: str,
        output: str,
        channels: int,
        kernel: int,
        stride: int = 1,
        pad: int = 0,
        groups: int = 1,
        *,
        bias: bool = True,
    ) -> str:
        geometry: Arguments = {"stride": stride, "pad": pad, "kernel": kernel}
        if groups > 1:
            geometry["group"] = groups
        return self.convolution_with(source, output, channels, geometry, bias=bias)

    def convolution_with(
        self, source: str, output: str, channels: int, arguments: Arguments, *, bias: bool = True
    ) -> str:
        """The arguments, and their order, as the net's author has them."""
        kernel, groups = arguments["kernel"], arguments.get("group", 1)
        inputs = [
            source,
            self.parameter(f"{output}_w", (channels, self._channels[source] // groups, kernel, kernel)),
        ]
        if bias:
            inputs.append(self.parameter(f"{output}_b", (channels,)))
        return self.operator("Conv", inputs, [output], arguments, channels=channels)

    def relu(self, blob: str) -> str:
        return self.operator("Relu", [blob], [blob])

    def pool(self, type_: str, source: str, output: str, arguments: Arguments) -> str:
        return self.operator(type_, [source], [output], arguments, channels=self._channels[source])

    def local_response_normalization(self, source: str, output: str) -> str:
        """With the values of Krizhevsky et al. (2012), as Caffe reads them."""
        arguments: Arguments = {"size": 5, "alpha": 1e-4, "beta": 0.75, "bias": 1.0, "order": "NCHW"}
        channels = self._channels[source]
        return self.operator("LRN", [source], [output, f"_{output}_scale"], arguments, channels=channels)

    def batch_normalization(
        self, source: str, output: str, names: tuple[str, str, str, str], arguments: Arguments
    ) -> str:
        """``names``: of scale, bias, mean and variance."""
        channels = self._channels[source]
        roles = zip(names, ("scale", "bias", "mean", "variance"), strict=True)
        parameters = [self.normalization_parameter(name, role, channels) for name, role in roles]
        return self.operator("SpatialBN", [source, *parameters], [output], arguments, channels=channels)

    def scale_and_shift(self, source: str, scaled: str, output: str, names: tuple[str, str]) -> str:
        """Per channel, as Caffe's layer Scale. ``names``: of the factors and the summands."""
        channels = self._channels[source]
        along_channels: Arguments = {"axis": 1, "broadcast": 1}
        factors = self.normalization_parameter(names[0], "scale", channels)
        self.operator("Mul", [source, factors], [scaled], along_channels)
        summands = self.normalization_parameter(names[1], "bias", channels)
        return self.operator("Add", [scaled, summands], [output], along_channels, channels=channels)

    def concat(
        self, sources: list[str], output: str, *, sizes: str | None = None, with_order: bool = True
    ) -> str:
        """``sizes``: the blob of the sources' channels."""
        channels = sum(self._channels[source] for source in sources)
        order: Arguments = {"order": "NCHW"} if with_order else {}
        return self.operator(
            "Concat", sources, [output, sizes or f"_{output}_dims"], order, channels=channels
        )

    def add_up(self, sources: list[str], output: str) -> str:
        return self.operator("Sum", sources, [output], channels=self._channels[sources[0]])

    def dropout(self, blob: str, ratio: float = 0.5) -> str:
        return self.operator("Dropout", [blob], [blob, f"_{blob}_mask"], {"ratio": ratio, "is_test": 1})

    def fully_connected(
        self, source: str, output: str, inputs: int, outputs: int, *, parameters: str | None = None
    ) -> str:
        """``parameters``: what their names begin with, where it is not ``output``."""
        parameters = parameters or output
        weight = self.parameter(f"{parameters}_w", (outputs, inputs))
        bias = self.parameter(f"{parameters}_b", (outputs,))
        return self.operator("FC", [source, weight, bias], [output])

    def finish(self, output: str, *, data_first: bool = True) -> Any:
        data = [self.data]
        self.net.external_input.extend([*data, *self.parameters] if data_first else [*self.parameters, *data])
        self.net.external_output.append(self._prefix + output)
        return self.net
