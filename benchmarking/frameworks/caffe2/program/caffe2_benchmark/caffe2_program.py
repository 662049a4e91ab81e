"""The Caffe2 benchmark program: nets from NetDef files, in one of its engines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import AbstractSet, Any, Dict, List, Mapping, Optional

from benchmarking.frameworks.kit.errors import UsageError
from benchmarking.frameworks.kit.flags import Settings, flag
from benchmarking.frameworks.kit.kernels import Fact
from benchmarking.frameworks.kit.program import BackendRow, LoadedModel, Preparation, Program

from . import __version__


@dataclass(frozen=True)
class Caffe2Settings(Settings):
    init_net: str = flag("", "the NetDef file of the net that fills the weights")
    net: str = flag("", "the NetDef file of the net that is timed")
    engine: str = flag(
        "auto",
        "the engine that runs the net: torch, native (real Caffe2), or auto: native if it can be imported",
    )
    backend: str = flag(
        "builtin",
        "the backend that computes the operators: builtin (or default), or another listed by --list_backends",
    )
    backend_options: str = flag(
        "", "options of the backend, separated by commas; cuda has channels_last, tf32 and autotune"
    )
    optimize: str = flag(
        "none",
        "none: operator by operator, as in the net; fuse: as a deployed runtime would run it",
        choices=("none", "fuse"),
    )
    text_output: bool = flag(False, "write text, one number per line, instead of BlobProto")
    caffe2_threadpool_force_inline: bool = flag(
        False, "run operators in the calling thread, as one thread (--threads 1) does"
    )


class Caffe2Program(Program[Caffe2Settings]):
    name = "caffe2_benchmark"
    version = __version__
    description = "runs a Caffe2 net and prints how long each iteration took"
    settings = Caffe2Settings
    input_types = ("float", "uint8_t", "int")

    def backends(self) -> List[BackendRow]:
        from . import engines

        return engines.backends()

    def require(self, settings: Caffe2Settings) -> None:
        if not settings.net:
            raise UsageError("--net is missing: the NetDef file to run")
        if settings.caffe2_threadpool_force_inline and settings.threads > 1:
            raise UsageError("--caffe2_threadpool_force_inline leaves one thread; give --threads 1")

    def prepare(self, settings: Caffe2Settings) -> Preparation:
        return _Caffe2Preparation(settings)

    def read_binary(self, content: bytes) -> Any:
        from . import blob_file

        return blob_file.read(content)

    def encode_output(self, settings: Caffe2Settings, name: str, array: Any) -> Optional[bytes]:
        from . import blob_file

        if settings.text_output:
            return None
        content: bytes = blob_file.to_proto(name, array).SerializeToString()
        return content

    def peak(self) -> Mapping[str, float]:
        from . import peak

        return peak.measure()


class _Caffe2Preparation(Preparation):
    def __init__(self, settings: Caffe2Settings) -> None:
        from . import engines, net_file
        from .net_check import require_not_swapped

        self._settings = settings
        self._init_net = net_file.read(settings.init_net, "init_net") if settings.init_net else None
        self._net = net_file.read(settings.net, "net")
        if self._init_net is not None:
            require_not_swapped(self._init_net, self._net)
        self._engine_class = engines.choose(settings.engine, settings.backend, settings.optimize)
        self._engine_facts: Dict[str, Fact] = {}

    @property
    def model_name(self) -> str:
        return str(self._net.name)

    @property
    def facts(self) -> Mapping[str, Fact]:
        net: Dict[str, Fact] = {"optimize": self._settings.optimize, "operators": len(self._net.op)}
        return {**net, **self._engine_facts}

    def load(self, inputs: Dict[str, Any], wanted: AbstractSet[str]) -> LoadedModel:
        settings = self._settings
        options = settings.backend_option_names
        engine = self._engine_class(
            settings.threads, settings.seed, settings.backend, settings.optimize, options
        )
        self._engine_facts = dict(engine.facts())
        if engine.unused_options:
            self._engine_facts["unused_backend_options"] = ",".join(engine.unused_options)
        return engine.load(self._init_net, self._net, inputs, wanted)
