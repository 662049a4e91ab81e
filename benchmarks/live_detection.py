"""Is a true slowdown found on this machine, without false alarms?

    python benchmarks/live_detection.py [--framework caffe2] [--threads 1] [--identical 300] [--each 100]
        [--sizes 1,2,3,5] [--spinners 0] [--save FILE]

The treatment is the Caffe2 program in which one operator uses additional CPU time, so that the net takes the
given number of per cent longer; the control is the same program without this. Each comparison is what
harness.py does for one test: pairs until there is a verdict, and the verification of a suspected regression
on fresh pairs. --target is its --target_change. With --spinners, this number of processes compete for the
cores. A line for each comparison goes to stderr. With --save, a line of JSON also goes to FILE, and
comparisons that are already in it are counted and not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SPIN = """
import os
parent = os.getppid()
while os.getppid() == parent:
    pass
"""
"""Runs until the script that started it is gone, however that ended."""
sys.path.insert(0, str(ROOT))

from benchmarking.driver.bench import Bench  # noqa: E402
from benchmarking.driver.benchmark_driver import BenchmarkDriver  # noqa: E402
from benchmarking.driver.plan import Arm, Comparing, RunPlan  # noqa: E402
from benchmarking.files.model_cache import ModelCache  # noqa: E402
from benchmarking.frameworks.framework_base import FrameworkBase  # noqa: E402
from benchmarking.frameworks.frameworks import FRAMEWORKS  # noqa: E402
from benchmarking.platforms.host.host import HostPlatform  # noqa: E402
from benchmarking.platforms.platform_base import PlatformOptions  # noqa: E402
from benchmarking.programs.command import Program  # noqa: E402
from benchmarking.programs.process import Cancellation  # noqa: E402
from benchmarking.results.model import NET_DELAY, Result, Verdict  # noqa: E402
from benchmarking.specs.expand import TestCase, expand  # noqa: E402
from benchmarking.specs.reader import read_benchmarks  # noqa: E402
from benchmarking.statistics import sequential  # noqa: E402
from benchmarking.statistics.sequential import SequentialPlan  # noqa: E402

MODELS = ROOT / "specifications/models"
SQUEEZENET = MODELS / "caffe2/squeezenet/squeezenet_synthetic.json"
EXPAND = "ID_7_Conv_fire2/expand3x3"
NETS = {
    "lenet": (MODELS / "caffe2/lenet/lenet.json", (1, 1, 28, 28), "ID_2_Conv_conv2"),
    "squeezenet64": (SQUEEZENET, (1, 3, 64, 64), EXPAND),
    "squeezenet224": (SQUEEZENET, (1, 3, 224, 224), EXPAND),
    "small_squeezenet": (MODELS / "zoo/small_squeezenet/small_squeezenet.json", (1, 3, 224, 224), EXPAND),
}
"""The specification, the input's shape, and the operator of Caffe2 that is made slower."""
PROGRAMS = {
    "caffe2": "caffe2.program.caffe2_benchmark.caffe2_program.Caffe2Program",
    "onnxruntime": "onnxruntime.program.onnxruntime_program.OnnxRuntimeProgram",
    "openvino": "openvino.program.openvino_program.OpenVinoProgram",
    "litert": "litert.program.litert_program.LiteRtProgram",
    "pytorch": "pytorch.program.pytorch_program.PyTorchProgram",
}
SLOWER_PROGRAM = """
import sys, time
sys.path.insert(0, {root!r})
from benchmarking.frameworks.{module} import {program}
from benchmarking.frameworks.kit.main import leave, run

def slowed(compute):
    def slow(*inputs):
        output = compute(*inputs)
        end = time.thread_time_ns() + {extra_ns}
        while time.thread_time_ns() < end:
            pass
        return output
    return slow

{slow_down}
leave(run({program}(), sys.argv[1:]))
"""
SLOWER_OPERATOR = """
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.engine import TorchNet

prepare = TorchNet.__init__
def prepare_slowed(self, *arguments, **more):
    prepare(self, *arguments, **more)
    self._steps = [
        step._replace(compute=slowed(step.compute)) if step.name == {operator!r} else step
        for step in self._steps
    ]
TorchNet.__init__ = prepare_slowed
"""
SLOWER_NET = """
prepare = {program}.prepare
def prepare_slowed(self, settings):
    preparation = prepare(self, settings)
    load = preparation.load
    def load_slowed(*arguments):
        model = load(*arguments)
        model.run = slowed(model.run)
        return model
    preparation.load = load_slowed
    return preparation
{program}.prepare = prepare_slowed
"""


@dataclass(frozen=True)
class Comparison:
    slower_percent: float
    outcome: str
    """For the net, by the first stage."""
    reason: str
    ratio: float
    pairs: int
    seconds: float
    """Both: until the first verdict."""
    load: float
    suspected: list[str]
    confirmed: list[str]


@dataclass
class Live:
    framework: FrameworkBase
    platform: Any
    cache: ModelCache
    cancellation: Cancellation
    case: TestCase
    threads: int
    operator: str
    directory: Path
    comparing: Comparing

    def program(self, name: str, extra_ns: int) -> Program:
        module, program = PROGRAMS[self.framework.name].rsplit(".", 1)
        slow_down = SLOWER_OPERATOR if self.framework.name == "caffe2" else SLOWER_NET
        path = self.directory / f"{name}.py"
        path.write_text(
            SLOWER_PROGRAM.format(
                root=str(ROOT),
                module=module,
                program=program,
                extra_ns=extra_ns,
                slow_down=slow_down.format(program=program, operator=self.operator),
            )
        )
        return Program(path, needs_python=True)

    def plan(self, treatment: Program, control: Program, seed: int, **more: Any) -> RunPlan:
        new, old = (Arm(name, 1, program) for name, program in (("new", treatment), ("old", control)))
        return RunPlan(self.framework, new, old, ("live",), seed, timeout_s=120, **more)

    def run(self, plan: RunPlan) -> Result:
        result = BenchmarkDriver(Bench(self.platform, plan, self.cache, self.cancellation)).run(self.case)
        if result.failure:
            sys.exit(f"{result.failure.message}\n{result.failure.evidence}")
        return result

    def net_ns(self) -> float:
        """The time of an iteration of the control, on the clock that comparisons use."""
        control = self.program("control", 0)
        plan = self.plan(control, control, 1, comparing=Comparing(fixed_pairs=3))
        net = self.run(plan).types[0]
        return statistics.median(net.cpu_values if self.threads == 1 else net.values) * 1e3

    def compare(self, percent: float, treatment: Program, control: Program, seed: int) -> Comparison:
        started = time.monotonic()
        plan = self.plan(treatment, control, seed, comparing=self.comparing).for_run(1)
        first = self.run(plan)
        seconds = time.monotonic() - started
        decisions = {one.type: one.decision for one in first.types if one.decision}
        suspects = tuple(name for name, one in decisions.items() if one.verdict is Verdict.REGRESSED)
        confirmed: list[str] = []
        if suspects:
            second = self.run(replace(plan, run_type="verify", regressed_types=suspects, seed=seed))
            again = {one.type: one.decision for one in second.types if one.decision}
            confirmed = [
                name
                for name in suspects
                if sequential.confirm(decisions[name], again[name]).verdict is Verdict.REGRESSED
            ]
        net = decisions[NET_DELAY]
        return Comparison(
            slower_percent=percent,
            outcome=str(net.verdict),
            reason=net.reason,
            ratio=net.comparison.ratio if net.comparison else float("nan"),
            pairs=first.sampling.pairs if first.sampling else 0,
            seconds=round(seconds, 2),
            load=os.getloadavg()[0],
            suspected=list(suspects),
            confirmed=confirmed,
        )


def report(percent: float, operator: str, comparisons: list[Comparison]) -> None:
    count = len(comparisons)
    confirmed = [set(one.confirmed) for one in comparisons if one.confirmed]
    outcomes = Counter(one.outcome for one in comparisons).most_common()
    print(
        f"+{percent:g} %: {count} comparisons: {len(confirmed)} confirmed ({len(confirmed) / count:.1%}), "
        f"{sum(bool(one.suspected) for one in comparisons)} suspected; "
        f"operator named {sum(operator in names for names in confirmed)}, "
        f"another named {sum(bool(names - {NET_DELAY, operator}) for names in confirmed)}; "
        f"the net: {', '.join(f'{number} {what}' for what, number in outcomes)}; "
        f"{statistics.mean(one.ratio for one in comparisons) - 1:+.2%} on average; "
        f"{statistics.median(one.pairs for one in comparisons):.0f} pairs, "
        f"{statistics.median(one.seconds for one in comparisons):.1f} s until the first verdict",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--framework", choices=PROGRAMS, default="caffe2")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--identical", type=int, default=300)
    parser.add_argument("--each", type=int, default=100)
    parser.add_argument(
        "--sizes", type=lambda text: [float(one) for one in text.split(",")], default=[1, 2, 3, 5]
    )
    parser.add_argument("--spinners", type=int, default=0)
    parser.add_argument("--target", type=float, default=SequentialPlan.target_change)
    parser.add_argument("--max_seconds", type=float, default=Comparing.max_seconds)
    parser.add_argument("--net", choices=NETS, help="squeezenet64, others small_squeezenet")
    parser.add_argument("--operators", action="store_true", help="time each operator, too")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    framework = FRAMEWORKS[arguments.framework]()
    net = arguments.net or ("squeezenet64" if framework.name == "caffe2" else "small_squeezenet")
    file, shape, operator = NETS[net]
    case = next(one for one in expand(read_benchmarks(file), None) if one.metric == "delay")
    options = {"run_individual": arguments.operators, "threads": arguments.threads}
    case = replace(
        case.in_first_format_of(framework.formats),
        inputs=(replace(case.inputs[0], shape=shape),),
        commands={framework.name: options},
    )
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cancellation = stack.enter_context(Cancellation())
        for _ in range(arguments.spinners):
            spinner = subprocess.Popen([sys.executable, "-c", SPIN])
            stack.callback(spinner.kill)
        cache = ModelCache(directory / "cache", cancellation=cancellation, show_progress=False)
        platform = HostPlatform.discover(PlatformOptions()).devices[0]
        comparing = Comparing(SequentialPlan.for_target(arguments.target), max_seconds=arguments.max_seconds)
        live = Live(
            *(framework, platform, cache, cancellation, case, arguments.threads, operator, directory),
            comparing,
        )
        net_ns = live.net_ns()
        cores = len(os.sched_getaffinity(0))
        print(
            f"{framework.name}, {net}: {net_ns / 1e6:.2f} ms, threads: {arguments.threads}, "
            f"{cores} cores, {arguments.spinners} spinners"
        )
        control = live.program("control", 0)
        sizes = [0.0, *arguments.sizes]
        programs = {size: live.program(f"slower_{size:g}", round(net_ns * size / 100)) for size in sizes}
        kinds = [0.0] * arguments.identical + [
            size for size in arguments.sizes for _ in range(arguments.each)
        ]
        random.Random(arguments.seed).shuffle(kinds)
        made: list[Comparison] = []
        if arguments.save and arguments.save.exists():
            made += [Comparison(**json.loads(line)) for line in arguments.save.read_text().splitlines()]
        for number, size in enumerate(kinds[len(made) :], start=len(made)):
            print(f"[{number + 1}/{len(kinds)}] +{size:g} %: ", end="", file=sys.stderr, flush=True)
            one = live.compare(size, programs[size], control, 1000 * arguments.seed + number)
            made.append(one)
            print(f"{one.outcome}: {one.reason}; confirmed: {one.confirmed}", file=sys.stderr)
            if arguments.save:
                with arguments.save.open("a") as file:
                    file.write(json.dumps(asdict(one)) + "\n")
            if (number + 1) % 50 == 0 or number + 1 == len(kinds):
                print(f"after {number + 1} comparisons:")
                for percent in sizes:
                    if of_size := [one for one in made if one.slower_percent == percent]:
                        report(percent, operator, of_size)


if __name__ == "__main__":
    main()
