"""The C interface of oneDNN 3, as far as parts of a net need it.

torch contains oneDNN, but does not let others call it. The same library is also installed by the package
``onednn-cpu-gomp``, by Debian's ``libdnnl3`` and by conda's ``onednn``.
"""

from __future__ import annotations

import ctypes
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Dict, Iterator, NamedTuple, Optional, Sequence, Tuple

from .allocator import LargePages

NAME = "libdnnl.so.3"
_PACKAGE = "onednn-cpu-gomp"
_LEAST_VERSION = (3, 1)

# Constants of dnnl_types.h that no version of oneDNN 3 has changed.
SRC, SRC_1, DST, WEIGHTS, BIAS = 1, 2, 17, 33, 41
"""The arguments of a primitive."""
MAX, AVERAGE_WITH_PADDING, AVERAGE = 0x1FF, 0x2FF, 0x3FF
"""The kinds of pooling."""
_CPU, _IN_ORDER, _INFERENCE, _DIRECT, _RELU, _ADD, _SOFTMAX = 1, 1, 96, 1, 0x20, 0x1FFF0, 0x30000
_F32, _ANY_FORMAT = 3, 1
_ASK_NAME, _ASK_WEIGHTS = 8, 131
_SEQUENTIAL, _OPENMP = 1, 2
_SLOW = "ref"
"""The names of implementations that compute number by number begin with this."""


class OnednnError(Exception):
    """oneDNN cannot be used, or does not compute this here."""


class Layout(NamedTuple):
    """Numbers (f32) in memory."""

    shape: Tuple[int, ...]
    strides: Tuple[int, ...]
    """Of each dimension, in numbers."""

    @classmethod
    def dense(cls, shape: Sequence[int]) -> Layout:
        strides = [1] * len(shape)
        for axis in reversed(range(len(shape) - 1)):
            strides[axis] = strides[axis + 1] * shape[axis + 1]
        return cls(tuple(shape), tuple(strides))

    @classmethod
    def channels_innermost(cls, shape: Sequence[int]) -> Layout:
        """Images (N, C, H, W); everything else is dense."""
        if len(shape) != 4:
            return cls.dense(shape)
        _, channels, height, width = shape
        return cls(tuple(shape), (height * width * channels, 1, width * channels, channels))


class _Version(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("major", "minor", "patch")),
        ("hash", ctypes.c_char_p),
        ("cpu_runtime", ctypes.c_uint),
        ("gpu_runtime", ctypes.c_uint),
    ]


class _Argument(ctypes.Structure):
    _fields_ = [("number", ctypes.c_int), ("memory", ctypes.c_void_p)]


class Handle:
    """An object of oneDNN; it ends with this one."""

    def __init__(self, create: Any, destroy: Any, *arguments: Any) -> None:
        self._as_parameter_ = ctypes.c_void_p()
        self._destroy = destroy
        _check(create(ctypes.byref(self._as_parameter_), *arguments))

    def __del__(self) -> None:
        if self._as_parameter_:
            self._destroy(self._as_parameter_)


class Description:
    """What a primitive computes, and with which implementation."""

    def __init__(self, library: Any, handle: Handle) -> None:
        self.handle = handle
        name = ctypes.c_char_p()
        _check(library.dnnl_primitive_desc_query(handle, _ASK_NAME, 0, ctypes.byref(name)))
        self.implementation = (name.value or b"").decode()

    def require_fast(self) -> Description:
        if self.implementation.startswith(_SLOW):
            raise OnednnError("oneDNN has no fast kernel for it")
        return self


class Primitive(NamedTuple):
    """Ready to run."""

    handle: Handle
    length: ctypes.c_int
    arguments: Any
    held: Sequence[Any]
    """What has to exist as long."""


class Library:
    """oneDNN on this machine's CPU.

    Raises:
        OnednnError: it is not installed, or cannot be used with so many threads.
    """

    def __init__(self, threads: int) -> None:
        self._c = _loaded()
        self._c.dnnl_version.restype = ctypes.POINTER(_Version)
        self._c.dnnl_memory_desc_get_size.restype = ctypes.c_size_t
        self._c.dnnl_primitive_desc_query_md.restype = ctypes.c_void_p
        version = self._c.dnnl_version().contents
        self.version = "%d.%d.%d" % (version.major, version.minor, version.patch)
        if (version.major, version.minor) < _LEAST_VERSION:
            raise OnednnError("oneDNN %s is too old; install 3.1 or newer" % self.version)
        if version.cpu_runtime == _OPENMP:
            # Of the OpenMP that this library uses: it may be another than torch's.
            self._c.omp_set_num_threads(threads)
        elif version.cpu_runtime != _SEQUENTIAL or threads > 1:
            raise OnednnError("%s was built without OpenMP, so its threads cannot be limited" % NAME)
        self._engine = self._new("engine", _CPU, ctypes.c_size_t(0))
        self._stream = self._new("stream", self._engine, _IN_ORDER)

    def _new(self, kind: str, *arguments: Any, suffix: str = "_create") -> Handle:
        create = getattr(self._c, "dnnl_%s%s" % (kind, suffix))
        return Handle(create, getattr(self._c, "dnnl_%s_destroy" % kind), *arguments)

    def _describe(self, kind: str, *arguments: Any) -> Description:
        create = getattr(self._c, "dnnl_%s_primitive_desc_create" % kind)
        handle = Handle(create, self._c.dnnl_primitive_desc_destroy, *arguments)
        return Description(self._c, handle)

    # --- what is computed -----------------------------------------------------------------------------------

    def convolution(
        self,
        x: Layout,
        weight: Sequence[int],
        has_bias: bool,
        y: Layout,
        strides: Sequence[int],
        dilations: Sequence[int],
        sides: Sequence[Tuple[int, int]],
        adds: bool,
        has_relu: bool,
    ) -> Description:
        """``weight``: its shape, with the group first if there are several; ``adds``: to what is there."""
        windows = [strides, [one - 1 for one in dilations], *zip(*sides)]
        operands = [self._layout(x), self._any(weight), self._bias(y, has_bias), self._layout(y)]
        return self._forward(
            "convolution", _DIRECT, *operands, *map(_numbers, windows), self._then(adds, has_relu)
        )

    def fully_connected(self, x: Layout, weight: Sequence[int], y: Layout) -> Description:
        operands = [self._layout(x), self._any(weight), self._bias(y, True), self._layout(y)]
        return self._forward("inner_product", *operands, None)

    def pooling(
        self,
        kind: int,
        x: Layout,
        y: Layout,
        strides: Sequence[int],
        kernel: Sequence[int],
        sides: Sequence[Tuple[int, int]],
    ) -> Description:
        windows = [strides, kernel, [0] * len(kernel), *zip(*sides)]
        operands = [self._layout(x), self._layout(y)]
        return self._forward("pooling", kind, *operands, *map(_numbers, windows), None)

    def relu(self, x: Layout, slope: float = 0.0) -> Description:
        """``slope``: of what is below 0."""
        layouts = [self._layout(x), self._layout(x)]
        return self._forward("eltwise", _RELU, *layouts, ctypes.c_float(slope), ctypes.c_float(0), None)

    def parametric_relu(self, x: Layout, slopes: Layout) -> Description:
        layouts = [self._layout(x), self._layout(slopes), self._layout(x)]
        return self._forward("prelu", *layouts, None)

    def softmax(self, x: Layout, axis: int) -> Description:
        return self._forward("softmax", _SOFTMAX, self._layout(x), self._layout(x), axis, None)

    def addition(self, x: Layout) -> Description:
        """Of two inputs of this layout."""
        layouts = [self._layout(x) for _ in range(3)]
        return self._describe("binary", self._engine, _ADD, *layouts, None).require_fast()

    def copy(self, x: Layout, y: Layout) -> Description:
        return self._copy(self._layout(x), self._layout(y)).require_fast()

    # --- what runs ------------------------------------------------------------------------------------------

    def primitive(self, description: Description, arguments: Dict[int, Tuple[Any, int]]) -> Primitive:
        """``arguments``: for each its layout (or oneDNN's description of it) and its address."""
        memories = []
        for layout, address in arguments.values():
            described = self._layout(layout) if isinstance(layout, Layout) else layout
            pointer = ctypes.c_void_p(address)
            memories.append(self._new("memory", described, self._engine, pointer))
        pairs = [_Argument(number, one._as_parameter_) for number, one in zip(arguments, memories)]
        handle = self._new("primitive", description.handle)
        return Primitive(handle, ctypes.c_int(len(pairs)), (_Argument * len(pairs))(*pairs), memories)

    def run(self, primitives: Sequence[Primitive]) -> None:
        execute, stream = self._c.dnnl_primitive_execute, self._stream
        for handle, length, arguments, _ in primitives:
            status = execute(handle, stream, length, arguments)
            if status:
                _check(status)

    def relocate(self, primitive: Primitive, position: int, address: int) -> None:
        """The argument at this position is at another address from now on."""
        _check(self._c.dnnl_memory_set_data_handle(primitive.held[position], ctypes.c_void_p(address)))

    def packed(
        self, description: Description, weight: Any, shape: Sequence[int], pages: LargePages
    ) -> Tuple[Any, Any]:
        """A tensor, dense as ``shape``, as a primitive wants its weights: how they lie there (valid as long
        as the description), and a tensor with their bytes.
        """
        asked = self._c.dnnl_primitive_desc_query_md(description.handle, _ASK_WEIGHTS, 0)
        layout = ctypes.c_void_p(asked)
        storage = pages.take(self._c.dnnl_memory_desc_get_size(layout))
        dense = self._layout(Layout.dense(shape))
        places = {SRC: (dense, weight.data_ptr()), DST: (layout, storage.data_ptr())}
        self.run([self.primitive(self._copy(dense, layout), places)])
        return layout, storage

    # --- details --------------------------------------------------------------------------------------------

    def _forward(self, kind: str, *arguments: Any) -> Description:
        return self._describe(kind + "_forward", self._engine, _INFERENCE, *arguments).require_fast()

    def _copy(self, x: Any, y: Any) -> Description:
        return self._describe("reorder", x, self._engine, y, self._engine, None)

    def _layout(self, layout: Layout) -> Handle:
        shape, strides = _numbers(layout.shape), _numbers(layout.strides)
        return self._new("memory_desc", len(shape), shape, _F32, strides, suffix="_create_with_strides")

    def _any(self, shape: Sequence[int]) -> Handle:
        """As the primitive likes it."""
        return self._new(
            "memory_desc", len(shape), _numbers(shape), _F32, _ANY_FORMAT, suffix="_create_with_tag"
        )

    def _bias(self, y: Layout, has_bias: bool) -> Optional[Handle]:
        return self._layout(Layout.dense(y.shape[1:2])) if has_bias else None

    def _then(self, adds: bool, has_relu: bool) -> Handle:
        """What happens to a result before it is written."""
        operations = self._new("post_ops")
        one, zero = ctypes.c_float(1), ctypes.c_float(0)
        if adds:
            _check(self._c.dnnl_post_ops_append_sum(operations, one, 0, 0))
        if has_relu:
            _check(self._c.dnnl_post_ops_append_eltwise(operations, _RELU, zero, zero))
        attributes = self._new("primitive_attr")
        _check(self._c.dnnl_primitive_attr_set_post_ops(attributes, operations))
        return attributes


def _check(status: int) -> None:
    if status:
        raise OnednnError("oneDNN answers with status %d" % status)


def _numbers(values: Sequence[int]) -> Any:
    return (ctypes.c_int64 * len(values))(*values)


def _loaded() -> Any:
    problem: Optional[OSError] = None
    for name in _places():
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            problem = error
    raise OnednnError("oneDNN is not installed (pip install %s): %s" % (_PACKAGE, problem))


def _places() -> Iterator[str]:
    """The package, wherever pip has put it; then the environment of conda, and what the system finds."""
    try:
        files = metadata.files(_PACKAGE) or ()
    except metadata.PackageNotFoundError:
        files = ()
    yield from (str(file.locate()) for file in files if file.name == NAME)
    yield str(Path(sys.prefix, "lib", NAME))
    yield NAME
