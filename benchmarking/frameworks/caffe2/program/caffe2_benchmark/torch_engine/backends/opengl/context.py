"""The OpenGL context of this process: buffers, compute shaders, and the log of what was dispatched."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import pkgutil
import struct
import sys
import time
import warnings
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from benchmarking.frameworks.kit.errors import UsageError

from ..backend import NoKernelError

NEEDED_VERSION = 430
EGL_LIBRARY = "libEGL.so.1"
TEXEL_BYTES = 16
PREFIX = "opengl:"
"""The prefix of the names of all kernels of this backend."""

_PACKAGES = "install Debian's libegl1, libegl-mesa0 and libgl1-mesa-dri, or the driver of a GPU"
_TEXTURE0, _TEXTURE_BUFFER = 0x84C0, 0x8C2A
RGBA32F, R32UI = 0x8814, 0x8236
"""The kinds of texels in a buffer: four floats, or a pixel of four bytes."""

Number = Union[int, float]
Content = Union[bytes, memoryview]


def why_unavailable() -> str:
    """One line; empty: it is available. This is tried in a separate process, because drivers
    start threads.
    """
    if _Shared.device is not None:
        return ""
    if importlib.util.find_spec("moderngl") is None:
        return "the Python package moderngl is not installed: pip install moderngl"
    try:
        ctypes.CDLL(EGL_LIBRARY)
    except OSError:
        return "no EGL: %s is not installed; %s" % (EGL_LIBRARY, _PACKAGES)
    if _Shared.why_unavailable is None:
        _Shared.why_unavailable = _tried_elsewhere() if hasattr(os, "fork") else ""
    return _Shared.why_unavailable


def _tried_elsewhere() -> str:
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # The child uses none of the threads that may exist.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            os.write(writer, _tried().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        answer = stream.read().decode()
    os.waitpid(child, 0)
    return "" if answer == "ok" else answer or "the OpenGL driver crashed; %s" % _PACKAGES


def _tried() -> str:
    try:
        _new_context()
    except UsageError as error:
        return str(error)
    return "ok"


def _new_context() -> Any:
    """Raises:
    UsageError: there is no context, or only of an old OpenGL.
    """
    try:
        import moderngl
    except Exception as error:  # a part of it is missing, or it was built for another system
        raise UsageError(
            "the Python package moderngl cannot be imported (%s): pip install --force-reinstall moderngl"
            % _first_line(error)
        ) from error

    # By the names that exist without development packages; EGL finds OpenGL's functions itself.
    settings: Dict[str, Any] = {"backend": "egl", "libegl": EGL_LIBRARY, "libgl": EGL_LIBRARY}
    try:
        return moderngl.create_context(require=NEEDED_VERSION, standalone=True, **settings)
    except Exception as error:  # moderngl has no type of its own
        raise UsageError(
            "no EGL device with OpenGL 4.3 or later (%s); %s" % (_first_line(error), _PACKAGES)
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


class _Shared:
    """Exists once per process: drivers handle a second context badly, and each context compiles again."""

    device: Optional[Device] = None
    why_unavailable: Optional[str] = None


def shared_device() -> Device:
    """The device of this process.

    Raises:
        UsageError: there is none.
    """
    if _Shared.device is None:
        if importlib.util.find_spec("moderngl") is None:
            raise UsageError("--backend opengl: " + why_unavailable())
        try:
            _Shared.device = Device(_new_context())
        except UsageError as error:
            raise UsageError("--backend opengl: %s" % error) from error
    return _Shared.device


class _Functions:
    """Functions that moderngl has no method for."""

    def __init__(self) -> None:
        library = ctypes.CDLL(EGL_LIBRARY)
        library.eglGetProcAddress.restype = ctypes.c_void_p
        number, numbers = ctypes.c_uint, ctypes.POINTER(ctypes.c_uint)

        def function(name: str, *types: Any) -> Any:
            address = library.eglGetProcAddress(name.encode())
            return ctypes.CFUNCTYPE(None, *types)(address)

        self.gen_textures = function("glGenTextures", ctypes.c_int, numbers)
        self.delete_textures = function("glDeleteTextures", ctypes.c_int, numbers)
        self.active_texture = function("glActiveTexture", number)
        self.bind_texture = function("glBindTexture", number, number)
        self.texture_buffer = function("glTexBuffer", number, number, number)
        self.get_integer = function("glGetIntegerv", number, ctypes.POINTER(ctypes.c_int))


class Storage:
    """A buffer of texels of four floats, or of pixels of four bytes; an additional zero follows the last."""

    def __init__(self, device: Device, content: Content, format_: int = RGBA32F) -> None:
        size = TEXEL_BYTES if format_ == RGBA32F else 4
        length = memoryview(content).nbytes
        self.texels = length // size
        device.require_texels(self.texels + 1)
        self._device = device
        self.buffer = device.context.buffer(reserve=length + size)
        if length:
            self.buffer.write(content)
        self.buffer.write(bytes(size), offset=length)
        self.texture = device.buffer_texture(self.buffer.glo, format_)

    @classmethod
    def of_zeros(cls, device: Device, texels: int, format_: int = RGBA32F) -> Storage:
        """A buffer to be written by shaders."""
        size = TEXEL_BYTES if format_ == RGBA32F else 4
        device.require_bytes((texels + 1) * size)
        return cls(device, bytes(texels * size), format_)

    def read(self) -> bytes:
        size = self.buffer.size // (self.texels + 1)
        content: bytes = self.buffer.read(self.texels * size)
        return content

    def __del__(self) -> None:
        # If the constructor failed, there is nothing to release, nor is there at the end of the interpreter.
        if not sys.is_finalizing() and hasattr(self, "texture"):
            self._device.delete_texture(self.texture)
            self.buffer.release()


class Program(NamedTuple):
    name: str
    """The name in the log."""
    shader: Any
    local_size: int


class Call:
    """A program with its size and parameters; the buffers are passed to each run."""

    def __init__(
        self,
        device: Device,
        program: Program,
        groups: Tuple[int, int, int],
        parameters: Sequence[Number],
    ) -> None:
        """``parameters``: in the order of the shader's block of that name.

        Raises:
            NoKernelError: more work groups than the driver takes.
        """
        device.require_groups(groups)
        self._device = device
        self._program = program
        self._groups = groups
        self._parameters = device.context.buffer(packed(parameters))

    @classmethod
    def of_texels(
        cls, device: Device, program: Program, texels: int, parameters: Sequence[Number] = ()
    ) -> Call:
        """One invocation for each texel; the number of texels is the first parameter."""
        groups = (-(-texels // program.local_size), 1, 1)
        return cls(device, program, groups, (texels, *parameters))

    def __call__(self, sources: Sequence[Storage], *targets: Storage) -> None:
        device = self._device
        for unit, source in enumerate(sources):
            device.bind_texture(unit, source.texture)
        for binding, target in enumerate(targets):
            target.buffer.bind_to_storage_buffer(binding)
        self._parameters.bind_to_uniform_block(0)
        self._program.shader.run(*self._groups)
        device.barrier()
        if device.log is not None:
            device.log.append(self._program.name)

    def __del__(self) -> None:
        if not sys.is_finalizing() and hasattr(self, "_parameters"):
            self._parameters.release()


def packed(parameters: Sequence[Number]) -> bytes:
    """Packs the parameters as std140 lays out single numbers one after another."""
    form = "".join("f" if isinstance(one, float) else "i" for one in parameters)
    content = struct.pack("<" + form, *parameters)
    return content.ljust(-(-max(len(content), 1) // TEXEL_BYTES) * TEXEL_BYTES, bytes(1))


class Device:
    def __init__(self, context: Any) -> None:
        self.context = context
        self.log: Optional[List[str]] = None
        """The names of the dispatched programs; None: they are not recorded."""
        self._functions = _Functions()
        self._programs: Dict[Tuple[str, Tuple[Tuple[str, int], ...]], Program] = {}
        self.barrier = context.memory_barrier
        info = context.info
        self.renderer = str(info["GL_RENDERER"])
        self.version = str(info["GL_VERSION"])
        self.vendor = str(info["GL_VENDOR"])
        self._most_groups: Sequence[int] = info["GL_MAX_COMPUTE_WORK_GROUP_COUNT"]
        self._most_bytes: int = info["GL_MAX_SHADER_STORAGE_BLOCK_SIZE"]
        self._most_texels = self._integer(0x8C2B)
        self._query = context.query(time=True)
        self.has_clock = self._clock_covers_shaders()

    # --- limits ---------------------------------------------------------------------------------------------

    def require_groups(self, groups: Sequence[int]) -> None:
        if any(wanted > most for wanted, most in zip(groups, self._most_groups)):
            raise NoKernelError(
                "%s work groups are more than OpenGL's limit of %s" % (groups, self._most_groups)
            )

    def require_bytes(self, size: int) -> None:
        if size > self._most_bytes:
            raise NoKernelError(
                "%d bytes are more than OpenGL's limit of %d per buffer" % (size, self._most_bytes)
            )

    def require_texels(self, count: int) -> None:
        if count > self._most_texels:
            raise NoKernelError("%d texels are more than OpenGL's limit of %d" % (count, self._most_texels))

    # --- programs -------------------------------------------------------------------------------------------

    def program(self, name: str, local_size: int, label: str = "", **constants: int) -> Program:
        """Compiled once per process for each set of constants; ``label``: the name in the log, if it differs.

        Raises:
            RuntimeError: the driver does not compile it.
        """
        key = (name, (("LOCAL_SIZE", local_size), *sorted(constants.items())))
        if key not in self._programs:
            lines = ["#version 430", *("#define %s %d" % one for one in key[1])]
            source = "\n".join([*lines, _shader_text("common"), _shader_text(name)])
            try:
                shader = self.context.compute_shader(source)
            except Exception as error:  # moderngl has no type of its own
                problem = " ".join(str(error).split())
                raise RuntimeError("the shader %s does not compile: %s" % (name, problem)) from error
            self._programs[key] = Program(PREFIX + (label or name), shader, local_size)
        return self._programs[key]

    @property
    def program_count(self) -> int:
        return len(self._programs)

    # --- buffers --------------------------------------------------------------------------------------------

    def buffer_texture(self, buffer: int, format_: int) -> int:
        functions = self._functions
        name = ctypes.c_uint()
        functions.gen_textures(1, ctypes.byref(name))
        functions.bind_texture(_TEXTURE_BUFFER, name.value)
        functions.texture_buffer(_TEXTURE_BUFFER, format_, buffer)
        return name.value

    def bind_texture(self, unit: int, texture: int) -> None:
        self._functions.active_texture(_TEXTURE0 + unit)
        self._functions.bind_texture(_TEXTURE_BUFFER, texture)

    def delete_texture(self, texture: int) -> None:
        self._functions.delete_textures(1, ctypes.byref(ctypes.c_uint(texture)))

    def copy(self, source: Storage, target: Storage, texels: int, first: int, target_first: int) -> None:
        """Copies texels from one buffer to another."""
        size = TEXEL_BYTES
        self.context.copy_buffer(
            target.buffer,
            source.buffer,
            texels * size,
            read_offset=first * size,
            write_offset=target_first * size,
        )
        self.barrier()
        if self.log is not None:
            self.log.append(PREFIX + "copy_buffer")

    # --- time -----------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Waits for the end of all commands.

        Raises:
            RuntimeError: OpenGL found something wrong.
        """
        self.context.finish()
        problem = self.context.error
        if problem != "GL_NO_ERROR":
            raise RuntimeError("OpenGL reports %s" % problem)

    def start_clock(self) -> None:
        self._query.mglo.begin()

    def stop_clock(self) -> None:
        self._query.mglo.end()

    def elapsed_ns(self) -> int:
        """The time between start and stop; waits for it."""
        return int(self._query.elapsed)

    def _clock_covers_shaders(self) -> bool:
        """Mesa's llvmpipe answers timer queries, but they do not include compute shaders: it reports 1 ns."""
        program = self.program("clock_check", 64)
        target = Storage.of_zeros(self, 64)
        call = Call(self, program, (1, 1, 1), ())
        call((), target)  # compiled by now
        self.finish()
        start = time.perf_counter_ns()
        self.start_clock()
        call((), target)
        self.stop_clock()
        self.finish()
        by_host = time.perf_counter_ns() - start
        return by_host / 100 < self.elapsed_ns() <= 2 * by_host

    def _integer(self, name: int) -> int:
        value = ctypes.c_int()
        self._functions.get_integer(name, ctypes.byref(value))
        return value.value

    def facts(self) -> Mapping[str, Union[str, int]]:
        facts: Dict[str, Union[str, int]] = {
            "gl_renderer": self.renderer,
            "gl_version": self.version,
            "gl_vendor": self.vendor,
            "opengl_clock": "timer query" if self.has_clock else "host clock around finish()",
        }
        if "llvmpipe" in self.renderer:
            facts["gl_threads"] = os.environ.get("LP_NUM_THREADS", "one per core")
        return facts


def _shader_text(name: str) -> str:
    content = pkgutil.get_data(__name__, "shaders/%s.comp" % name)
    if content is None:
        raise RuntimeError("the shader %s does not exist" % name)
    return content.decode()


def as_content(array: Any) -> Content:
    return np.ascontiguousarray(array, dtype=np.float32).data.cast("B")
