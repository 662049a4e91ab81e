"""LiteRT's profile of a run through its C interface, called with ctypes, because the Python bindings lack it.

The layout of the structures is not declared for Python. A wrong layout crashes, so it is first tried in
another process.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from ctypes import (
    Structure,
    byref,
    c_bool,
    c_char_p,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any, List, Mapping, NamedTuple, Sequence, Tuple

from benchmarking.frameworks.kit import printed
from benchmarking.frameworks.kit.errors import ModelError

_VERSION = "2.3."
_CPU = 1
_HOST_MEMORY = 1
_WRITE = 1
_BUILTIN_KERNELS = 2
_OPERATORS = _OPERATOR, _DELEGATED_OPERATOR = 2, 8
_TYPES = {1 << bit for bit in range(9)}
_SOURCES = 3
_LONGEST_US = 3_600_000_000
_READABLE, _UNREADABLE = 0, 3
"""Exit statuses of the process that tries it."""
_MOST_DIMENSIONS = 8
_DESTROYED_BY = {
    "LiteRtCreateEnvironment": "LiteRtDestroyEnvironment",
    "LiteRtCreateModelFromFile": "LiteRtDestroyModel",
    "LiteRtCreateOptions": "LiteRtDestroyOptions",
    "LiteRtCreateCompiledModel": "LiteRtDestroyCompiledModel",
    "LiteRtCreateManagedTensorBuffer": "LiteRtDestroyTensorBuffer",
}
"""All else that is made belongs to one of these."""


class UnreadableProfileError(ModelError):
    """Operators cannot be reported with this version of LiteRT."""


class Event(NamedTuple):
    tag: str
    """The name of the kernel in XNNPACK, or the operator of the file."""
    duration_ns: int
    by_xnnpack: bool
    place: int
    """The number of the operator in the file, or, for XNNPACK's, among its own operators."""


class _Event(Structure):
    _fields_ = [
        ("tag", c_char_p),
        ("type", c_int),
        ("start_us", c_uint64),
        ("duration_us", c_uint64),
        ("memory", c_int64 * 6),
        ("place", c_uint64),
        ("unused", c_uint64),
        ("source", c_int),
    ]


class _Layout(Structure):
    _fields_ = [
        ("rank", c_uint, 7),
        ("has_strides", c_uint, 1),
        ("dimensions", c_int32 * _MOST_DIMENSIONS),
        ("strides", c_uint32 * _MOST_DIMENSIONS),
    ]


class _TensorType(Structure):
    _fields_ = [("element", c_int), ("layout", _Layout)]


class Maker(NamedTuple):
    path: str
    inputs: Mapping[str, Any]
    """Maps the names of tensors to arrays."""
    threads: int
    by_xnnpack: bool

    def __call__(self) -> "ProfiledModel":
        return ProfiledModel(self)


def require_readable(make: Maker) -> None:
    """Raises:
    UnreadableProfileError: another process could not read a profile of the same model, or has crashed.
    """
    if not hasattr(os, "fork"):
        raise UnreadableProfileError("operators are not reported: trying out LiteRT's profile needs fork")
    _library()
    child = os.fork()
    if child == 0:
        os._exit(_try(make))
    _, status = os.waitpid(child, 0)
    if status != _READABLE:
        how = (
            "signal %d" % os.WTERMSIG(status)
            if os.WIFSIGNALED(status)
            else "status %d" % os.WEXITSTATUS(status)
        )
        raise UnreadableProfileError(
            "operators are not reported: a process that tried LiteRT's profile ended with %s" % how
        )


def _try(make: Maker) -> int:
    """Runs in the other process."""
    try:
        with printed.captured(printed.STDOUT, printed.STDERR):
            return _READABLE if make().run() else _UNREADABLE
    except BaseException:
        return _UNREADABLE


class ProfiledModel:
    """A separate session, because profiling makes a run slower by several percent."""

    def __init__(self, wanted: Maker) -> None:
        self._library = _library()
        self._kept: List[Any] = []
        """Objects that the session refers to."""
        self._owned: List[Tuple[str, c_void_p]] = []
        """What LiteRT has made for the session, in this order."""
        # Not at the end of the process, which would take longer for it.
        weakref.finalize(self, _destroy, self._library, self._owned, self._kept).atexit = False
        self._environment = self._made("LiteRtCreateEnvironment", c_int(0), None)
        self._model = self._made(
            "LiteRtCreateModelFromFile", self._environment, c_char_p(os.fsencode(wanted.path))
        )
        options = self._options(wanted)
        self._compiled = self._made("LiteRtCreateCompiledModel", self._environment, self._model, options)
        self._inputs = self._feed(wanted.inputs)
        self._outputs = self._output_buffers()
        self._profiler = self._made("LiteRtCompiledModelGetProfiler", self._compiled)

    def run(self) -> Sequence[Event]:
        """The operators of one iteration, in the order in which they ran."""
        self._call("LiteRtResetProfiler", self._profiler)
        self._call("LiteRtStartProfiler", self._profiler)
        self._call(
            "LiteRtRunCompiledModel", self._compiled, c_size_t(0),
            c_size_t(len(self._inputs)), self._inputs, c_size_t(len(self._outputs)), self._outputs,
        )  # fmt: skip
        self._call("LiteRtStopProfiler", self._profiler)
        count = c_int()
        self._call("LiteRtGetNumProfilerEvents", self._profiler, byref(count))
        events = (_Event * count.value)()
        self._call("LiteRtGetProfilerEvents", self._profiler, count, events)
        return [_event(one) for one in events if _valid(one).type in _OPERATORS]

    def _call(self, name: str, *arguments: Any) -> None:
        function = getattr(self._library, name)
        function.restype = c_int
        status = function(*arguments)
        if status:
            raise UnreadableProfileError("operators are not reported: %s failed with %d" % (name, status))

    def _made(self, name: str, *arguments: Any) -> c_void_p:
        made = c_void_p()
        self._call(name, *arguments, byref(made))
        if name in _DESTROYED_BY:
            self._owned.append((_DESTROYED_BY[name], made))
        return made

    def _options(self, wanted: Maker) -> c_void_p:
        options = self._made("LiteRtCreateOptions")
        self._call("LiteRtSetOptionsHardwareAccelerators", options, c_int(_CPU))
        kernels = "" if wanted.by_xnnpack else "kernel_mode = %d\n" % _BUILTIN_KERNELS
        for kind, text in (
            (b"runtime_options_string", "enable_profiling = true\n"),
            (b"xnnpack", "num_threads = %d\n%s" % (wanted.threads, kernels)),
        ):
            content = ctypes.create_string_buffer(text.encode())
            forget = ctypes.CFUNCTYPE(None, c_void_p)(lambda _: None)
            self._kept += [content, forget]
            payload = ctypes.cast(content, c_void_p)
            opaque = self._made("LiteRtCreateOpaqueOptions", c_char_p(kind), payload, forget)
            self._call("LiteRtAddOpaqueOptions", options, opaque)
        return options

    def _feed(self, arrays: Mapping[str, Any]) -> Any:
        """The buffers of the inputs, in the order of the model's signature."""
        tensors = self._tensors("Input")
        ordered = [arrays[self._name(tensor)] for tensor in tensors]
        for at, array in enumerate(ordered):
            shape = (c_int * array.ndim)(*array.shape)
            self._call(
                "LiteRtCompiledModelResizeInputTensorNonStrict",
                self._compiled, c_size_t(0), c_size_t(at), shape, c_size_t(array.ndim),
            )  # fmt: skip
        buffers = (c_void_p * len(ordered))()
        for at, (tensor, array) in enumerate(zip(tensors, ordered)):
            buffers[at] = self._buffer("Input", at, tensor, array.shape).value
            place = c_void_p()
            self._call("LiteRtLockTensorBuffer", c_void_p(buffers[at]), byref(place), c_int(_WRITE))
            ctypes.memmove(place, array.ctypes.data, array.nbytes)
            self._call("LiteRtUnlockTensorBuffer", c_void_p(buffers[at]))
        return buffers

    def _output_buffers(self) -> Any:
        tensors = self._tensors("Output")
        layouts = (_Layout * len(tensors))()
        self._call(
            "LiteRtGetCompiledModelOutputTensorLayouts",
            self._compiled, c_size_t(0), c_size_t(len(tensors)), layouts, c_bool(True),
        )  # fmt: skip
        buffers = (c_void_p * len(tensors))()
        for at, (tensor, layout) in enumerate(zip(tensors, layouts)):
            buffers[at] = self._buffer("Output", at, tensor, layout.dimensions[: layout.rank]).value
        return buffers

    def _tensors(self, kind: str) -> List[c_void_p]:
        signature, count = self._made("LiteRtGetModelSignature", self._model, c_size_t(0)), c_size_t()
        self._call("LiteRtGetNumSignature%ss" % kind, signature, byref(count))
        name = "LiteRtGetSignature%sTensorByIndex" % kind
        return [self._made(name, signature, c_size_t(at)) for at in range(count.value)]

    def _name(self, tensor: c_void_p) -> str:
        name = c_char_p()
        self._call("LiteRtGetTensorName", tensor, byref(name))
        return (name.value or b"").decode("utf-8", "replace")

    def _buffer(self, kind: str, at: int, tensor: c_void_p, shape: Sequence[int]) -> c_void_p:
        needed, size, type_ = c_void_p(), c_size_t(), _TensorType()
        name = "LiteRtGetCompiledModel%sBufferRequirements" % kind
        self._call(name, self._compiled, c_size_t(0), c_size_t(at), byref(needed))
        self._call("LiteRtGetTensorBufferRequirementsBufferSize", needed, byref(size))
        self._call("LiteRtGetRankedTensorType", tensor, byref(type_))
        type_.layout.rank, type_.layout.has_strides = len(shape), 0
        type_.layout.dimensions[: len(shape)] = shape
        arguments = (self._environment, c_int(_HOST_MEMORY), byref(type_), size)
        return self._made("LiteRtCreateManagedTensorBuffer", *arguments)


def _destroy(library: Any, owned: Sequence[Tuple[str, c_void_p]], _kept: Sequence[Any]) -> None:
    """``_kept`` lives as long as what refers to it."""
    with printed.captured(printed.STDERR):
        for name, one in reversed(owned):
            function = getattr(library, name)
            function.restype = None
            function(one)


def _valid(event: _Event) -> _Event:
    """Raises:
    UnreadableProfileError: it is not laid out as it is read here.
    """
    if (
        event.type not in _TYPES
        or event.source not in range(_SOURCES)
        or (event.type in _OPERATORS and (not event.tag or event.duration_us > _LONGEST_US))
    ):
        raise UnreadableProfileError(
            "operators are not reported: the profile of this LiteRT has another layout"
        )
    return event


def _event(event: _Event) -> Event:
    tag = event.tag.decode("utf-8", "replace")
    return Event(tag, event.duration_us * 1000, event.type == _DELEGATED_OPERATOR, event.place)


def _library() -> Any:
    """Raises:
    UnreadableProfileError: there is none, or another version of it.
    """
    import ai_edge_litert

    version: str = ai_edge_litert.__version__
    if not version.startswith(_VERSION):
        raise UnreadableProfileError(
            "operators are not reported: only the profile of LiteRT %s* is known, not that of %s"
            % (_VERSION, version)
        )
    directory = os.path.dirname(os.path.abspath(ai_edge_litert.__file__))
    for name in ("libLiteRt.so", "libLiteRt.dylib"):
        if os.path.exists(os.path.join(directory, name)):
            return ctypes.CDLL(os.path.join(directory, name))
    raise UnreadableProfileError("operators are not reported: %s has no libLiteRt" % directory)
