"""Single iterations in turn, of programs that answer from memory: order, clock, rounds, exchangeability."""

import json
import math
from random import Random

import pytest

from benchmarking.driver import iteration_sampler
from benchmarking.driver.iteration_sampler import IterationSampler
from benchmarking.driver.paired_test import PairedTest, sample_pairs
from benchmarking.driver.plan import Comparing
from benchmarking.errors import DeviceError, DeviceLostError, ProgramExitError
from benchmarking.platforms.platform_base import ThreadTimes
from benchmarking.programs.live_program import LiveProgram
from benchmarking.programs.workers import NoWorkersError, WorkerSource
from benchmarking.results.model import Cost, Kernel


class MadeUpProgram(LiveProgram):
    """Answers the worker protocol; ``arm`` is the program's and outlives it."""

    def __init__(self, arm, forks):
        super().__init__()
        self.arm = arm
        self.answers = []
        if arm.protocol is None:
            self.answers = [b"hello\n"]
        elif forks:
            answer = {"forks": True} if arm.protocol == "forks" else {"error": "no fork here"}
            self.answers = [self.line({"protocol": 1, **answer})]
        else:
            self.get_ready()

    @staticmethod
    def line(value):
        return json.dumps(value).encode() + b"\n"

    def get_ready(self):
        self.arm.started += 1
        self.arm.process_factor = math.exp(self.arm.random.gauss(0, 0.002))
        ready = {"protocol": 1, "ready": True, "facts": self.arm.facts, "cpu_resolution_ns": 1}
        ready |= {"pid": self.arm.told_pid, "rss_bytes": self.arm.rss_bytes}
        ready |= {"kernels": self.arm.kernels, "costs": self.arm.costs, "warnings": self.arm.warnings}
        ready |= {"operators_later": self.arm.operators_later}
        self.answers.append(self.line({**ready, "operators": list(self.arm.operators)}))

    def send(self, data):
        request = data.decode().strip()
        if request == "fork":
            self.get_ready()
        elif request == "end":
            self.answers.append(self.line({"ended": True}))
        elif request == "operators":
            self.answers.append(self.line({"operators": self.arm.take_operators()}))
        else:
            self.answers.append(self.line(self.arm.iteration(request)))

    @property
    def pid(self):
        return self.arm.pid

    def owns(self, pid):
        return pid == self.arm.pid

    def receive(self, timeout_s):
        return self.answers.pop(0) if self.answers else b""

    @property
    def stderr(self):
        return "said at last"

    def __enter__(self):
        self.arm.alive += 1
        return self

    def __exit__(self, *_):
        self.arm.alive -= 1


class MadeUpArm:
    def __init__(self, name, journal=None, *, factor=1.0, seed=1, protocol="forks", operators=None, **more):
        self.name, self.journal, self.factor, self.random = name, journal, factor, Random(seed)
        self.protocol, self.operators = protocol, operators or {}
        self.started = self.alive = 0
        self.layout_seeds = []
        self.net_ns, self.wall_over_cpu, self.waits = 10_000_000, 1.0, 0.0
        self.facts = {"threads": 1}
        self.pid = self.told_pid = 1
        self.tells_waiting, self.device_share = True, None
        self.times = {}
        """What the system counts, by thread: [nanoseconds that it ran, that it waited]."""
        self.kernels, self.costs, self.warnings, self.rss_bytes = {}, {}, [], None
        self.operators_later, self.kept = False, []
        vars(self).update(more)

    def iteration(self, request):
        if self.journal is not None:
            self.journal.append((self.name, request))
        cpu_ns = self.net_ns * self.factor * self.process_factor * math.exp(self.random.gauss(0, 0.004))
        waited_ns = cpu_ns * self.waits
        answer = {
            "wall_ns": cpu_ns * self.wall_over_cpu + waited_ns,
            "cpu_ns": cpu_ns,
            "run_delay_ns": round(waited_ns),
            "involuntary_switches": 1,
        }
        for ran_and_waited in self.times.values():
            ran_and_waited[0] += round(cpu_ns / len(self.times))
            ran_and_waited[1] += round(waited_ns / len(self.times))
        if not self.tells_waiting:
            del answer["run_delay_ns"]
        if self.device_share is not None:
            answer["device_ns"] = self.device_share * answer["wall_ns"]
        if request == "run operators":
            noise = math.exp(self.random.gauss(0, 0.004))
            answer["operators"] = {
                name: share * self.net_ns * self.process_factor * noise
                for name, share in self.operators.items()
            }
            if self.operators_later:
                self.kept.append(answer.pop("operators"))
        return answer

    def take_operators(self):
        kept, self.kept = self.kept, []
        return {name: [one[name] for one in kept] for name in self.operators}

    def source(self):
        def start(forks, layout_seed):
            self.layout_seeds.append(layout_seed)
            return MadeUpProgram(self, forks)

        return WorkerSource(start, 1.0)


def run(treatment, control, *, seed=3, clock="auto", operators=False, suspects=(), pin=lambda pid: 1, **more):
    sampler = IterationSampler(
        Random(seed),
        lambda: {"load_1_min": 0.5},
        pin,
        operator_rounds=iteration_sampler.MOST_ROUNDS if operators else 0,
        clock=clock,
        suspects=suspects,
        **more,
    )
    test = PairedTest(Comparing(), suspects)
    samples = sample_pairs(sampler, test, treatment.source(), control.source())
    assert (treatment.alive, control.alive) == (0, 0)
    return samples


@pytest.mark.parametrize("protocol", ["forks", "fresh"])
@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "unchanged"), (1.06, "regressed"), (0.94, "improved")])
def test_the_verdict(protocol, factor, verdict):
    samples = run(MadeUpArm("t", factor=factor, protocol=protocol), MadeUpArm("c", seed=2, protocol=protocol))
    assert samples.failure is None
    assert samples.decisions["NET_DELAY"].verdict == verdict
    assert samples.sampling.core == 1


def test_labels_swapped_give_the_mirrored_verdict():
    """The same two programs with the same noise: the slower program becomes the faster one by the same
    amount.
    """
    one = run(MadeUpArm("a", factor=1.05, seed=5), MadeUpArm("b", seed=6)).decisions["NET_DELAY"]
    other = run(MadeUpArm("b", seed=6), MadeUpArm("a", factor=1.05, seed=5)).decisions["NET_DELAY"]
    assert (one.verdict, other.verdict) == ("regressed", "improved")
    assert one.comparison.ratio == pytest.approx(1 / other.comparison.ratio, rel=1e-3)


def test_both_run_as_often_and_are_first_as_often():
    journal = []
    operators = {"ID_0_Conv_a": 1.0}
    arms = [MadeUpArm(name, journal, seed=seed, operators=operators) for seed, name in enumerate("tc")]
    samples = run(*arms, operators=True)
    assert [sum(name == one for name, _ in journal) for one in "tc"] == [len(journal) // 2] * 2
    turns = [(journal[i][0], journal[i + 1][0]) for i in range(0, len(journal), 2)]
    assert set(turns) == {("t", "c"), ("c", "t")}
    assert all(journal[i][1] == journal[i + 1][1] for i in range(0, len(journal), 2))
    assert 0.3 < sum(turn == ("t", "c") for turn in turns) / len(turns) < 0.7
    assert {one["first"] for one in samples.sampling.conditions} == {"treatment", "control"}
    net = samples.treatment.types[0]
    assert len(net.values) == len(net.cpu_values) == samples.sampling.pairs * samples.sampling.rounds


def test_a_warm_up_is_as_long_if_operators_are_timed():
    journal = []
    arms = [MadeUpArm(name, journal, seed=seed, operators={"a": 1.0}) for seed, name in enumerate("tc")]
    sampling = run(*arms, operators=True).sampling
    whole = journal.count(("t", "run")) - sampling.pairs * sampling.rounds
    # 10 ms each; one that takes a little less makes it one more.
    assert whole / sampling.pairs == pytest.approx(iteration_sampler.WARM_UP_S / 0.01, abs=1)


def test_parents_are_restarted_with_the_same_seed_for_both(monkeypatch):
    treatment, control = MadeUpArm("t", factor=1.0), MadeUpArm("c", seed=2)
    monkeypatch.setattr(iteration_sampler, "RENEWAL_BLOCKS", 2)
    samples = run(treatment, control)
    assert treatment.layout_seeds == control.layout_seeds
    assert len(set(treatment.layout_seeds)) == len(treatment.layout_seeds) == samples.sampling.pairs // 2
    assert treatment.started == samples.sampling.pairs


@pytest.mark.parametrize(
    ("arm", "clock", "reason"),
    [
        ({}, "cpu", "one thread computes all the time"),
        ({"wall_over_cpu": 0.6}, "wall", "several threads compute at once"),
        ({"facts": {"threads": 2}}, "wall", "2 threads compute"),
        ({"facts": {"threads": 2}, "waits": 1.0}, "wall", "2 threads compute"),
        (
            {"waits": 1.0, "tells_waiting": False},
            *(
                "wall",
                "the CPU is used for only 50 % of the time, and the time that the program waited for a core",
            ),
        ),
        ({"device_share": 0.9}, "device", "a device computes for 90 % of the time, by its own clock"),
        ({"device_share": 0.3}, "cpu", "one thread computes all the time"),
        ({"device_share": 0.3, "wall_over_cpu": 2.0}, "wall", "the CPU is used for only 50 % of the time"),
        ({"wall_over_cpu": 2.0}, "wall", "the CPU is used for only 50 % of the time"),
        ({"waits": 1.0}, "cpu", "one thread computes all the time"),
        ({"net_ns": 50}, "wall", "the clock of CPU time has steps of 0.001 us"),
    ],
)
def test_the_clock_follows_what_the_programs_do(arm, clock, reason):
    sampling = run(MadeUpArm("t", **arm), MadeUpArm("c", seed=2, **arm)).sampling
    assert sampling.clock == clock
    assert sampling.clock_reason.startswith(reason)


def system_counts(arm):
    """As ``PlatformBase.thread_times``, for both arms: they take turns on the same threads in these tests."""
    return lambda pid: {number: ThreadTimes(*times) for number, times in arm.times.items()}


def crowded(seed, times):
    return MadeUpArm("c", seed=seed, waits=1.0, tells_waiting=False, times=times)


def test_how_long_a_program_waited_is_asked_of_the_system_where_it_does_not_say():
    """A worker without ``run_delay_ns`` on a crowded core: CPU time is the clock all the same."""
    times = {7: [0, 0]}
    arms = crowded(1, times), crowded(2, times)
    samples = run(*arms, thread_times=system_counts(arms[0]))
    assert samples.sampling.clock == "cpu"
    assert samples.decisions["NET_DELAY"].verdict == "unchanged"
    shares = [one["run_delay_share"] for one in samples.sampling.conditions]
    assert shares == pytest.approx([0.5] * samples.sampling.pairs, abs=0.01)


def test_a_program_that_was_seen_to_compute_with_two_threads_is_timed_by_the_wall():
    times = {7: [0, 0], 8: [0, 0]}
    arms = crowded(1, times), crowded(2, times)
    sampling = run(*arms, thread_times=system_counts(arms[0])).sampling
    assert (sampling.clock, sampling.clock_reason) == ("wall", "2 threads compute")


@pytest.mark.parametrize("times", [{}, {7: [0, 0]}])
def test_what_is_unknown_of_waiting_stays_unknown(times):
    """No counters, or those of a process that was not the one that computed."""
    idle = {number: ThreadTimes(*one) for number, one in times.items()}
    arms = crowded(1, {}), crowded(2, {})
    samples = run(*arms, thread_times=lambda pid: idle)
    assert samples.sampling.clock == "wall"
    assert all("run_delay_share" not in one for one in samples.sampling.conditions)


def test_only_a_number_that_is_the_programs_own_is_pinned():
    pinned = []
    for told in (1, 4711):
        arms = MadeUpArm("t", told_pid=told), MadeUpArm("c", seed=2, told_pid=told)
        run(*arms, pin=lambda pid: pinned.append(pid) or 0)
    assert set(pinned) == {1}


def test_a_devices_own_clock_finds_what_the_wall_hides():
    """Both are as fast by the wall; by the device's clock the treatment takes 6 % longer."""
    samples = run(MadeUpArm("t", device_share=0.901), MadeUpArm("c", seed=2, device_share=0.85))
    assert samples.decisions["NET_DELAY"].verdict == "regressed"
    net = samples.treatment.types[0]
    assert len(net.device_values) == len(net.values)
    assert net.device_values[0] == pytest.approx(0.901 * net.values[0])


def test_a_clock_that_the_program_does_not_have_is_an_error():
    samples = run(MadeUpArm("t"), MadeUpArm("c", seed=2), clock="device")
    assert "--clock device: the program reports no device time" in str(samples.failure)


def test_the_clock_can_be_chosen_and_a_gpu_is_not_timed_by_the_cpu():
    assert run(MadeUpArm("t"), MadeUpArm("c"), clock="wall").sampling.clock == "wall"
    assert run(MadeUpArm("t"), MadeUpArm("c"), computes_on_cpu=False).sampling.clock == "wall"


def test_operators_that_do_not_matter_are_not_judged():
    shares = {"ID_0_Conv_a": 0.6, "ID_1_FC_b": 0.395, "ID_2_Relu_c": 0.005}
    slower = {**shares, "ID_1_FC_b": 0.45, "ID_2_Relu_c": 0.006}
    samples = run(
        MadeUpArm("t", factor=1.05, operators=slower),
        MadeUpArm("c", seed=2, operators=shares),
        operators=True,
    )
    verdicts = {name: str(one.verdict) for name, one in samples.decisions.items()}
    assert verdicts == {"NET_DELAY": "regressed", "ID_0_Conv_a": "unchanged", "ID_1_FC_b": "regressed"}
    assert [one.type for one in samples.treatment.types] == ["NET_DELAY", *shares]


def test_an_operator_that_some_iterations_lack_keeps_the_pairs_of_the_others():
    """A branch of the net that is not always taken, and a program that sometimes does not report an operator."""

    class Branching(MadeUpArm):
        number = 0

        def iteration(self, request):
            answer = super().iteration(request)
            if request == "run operators":
                self.number += 1
                told = {"ID_0_Conv_a": 7_000_000, "ID_1_FC_b": 2_000_000}
                answer["operators"] = [told, {"ID_0_Conv_a": 7_000_000}, {}][self.number % 3]
            return answer

    operators = {"ID_0_Conv_a": 0.7, "ID_1_FC_b": 0.2}
    arms = (Branching(name, seed=seed, operators=operators) for seed, name in enumerate("tc", start=1))
    samples = run(*arms, operators=True)
    assert samples.failure is None
    _, always, at_times = samples.treatment.types
    assert (set(always.values), set(at_times.values)) == ({7000.0}, {2000.0})
    assert len(always.values) == len(always.pairs) > len(at_times.values) == len(at_times.pairs) > 0


def test_operators_that_are_told_later_are_those_of_their_iterations():
    operators = {"ID_0_Conv_c": 0.7, "ID_1_Relu_r": 0.3}
    at_once, later = (
        run(
            *(
                MadeUpArm(name, seed=seed, operators=operators, operators_later=operators_later)
                for name, seed in (("treatment", 1), ("control", 2))
            ),
            operators=True,
        )
        for operators_later in (False, True)
    )
    assert later.treatment.types == at_once.treatment.types
    assert later.decisions == at_once.decisions
    assert "ID_0_Conv_c" in later.decisions


def test_a_program_that_reports_other_iterations_is_an_error():
    arms = [
        MadeUpArm(name, operators={"ID_0_Conv_c": 1.0}, operators_later=True)
        for name in ("treatment", "control")
    ]
    arms[0].take_operators = lambda: {"ID_0_Conv_c": [1.0]}
    failure = run(*arms, operators=True).failure
    assert str(failure).startswith("treatment: the program reports operators, but not for each of ")


@pytest.mark.parametrize(("step_ns", "judged"), [(1000, True), (500_000, False)])
def test_an_operator_that_its_clock_cannot_time_is_not_judged(step_ns, judged):
    facts = {"threads": 1, "operator_resolution_ns": step_ns}
    arms = (
        MadeUpArm(name, seed=seed, operators={"ID_0_Conv_c": 1.0}, facts=facts)
        for name, seed in (("treatment", 1), ("control", 2))
    )
    assert ("ID_0_Conv_c" in run(*arms, operators=True).decisions) == judged


def test_what_computed_each_operator_and_its_cost_are_kept_apart_for_both():
    told = {"ID_0_Conv_c": {"kernel": "gemm", "own": False}}
    costs = {"NET_DELAY": {"parameters": 1, "flops": 2, "bytes": 3}}
    warnings = ["computes\nin bf16"] * 30
    treatment = MadeUpArm("treatment", kernels=told, costs=costs, warnings=warnings)
    samples = run(treatment, MadeUpArm("control", seed=2))
    assert samples.treatment.costs == {"NET_DELAY": Cost(parameters=1, flops=2, bytes=3)}
    assert samples.treatment.kernels == {"ID_0_Conv_c": Kernel("gemm", own=False)}
    assert samples.treatment.warnings == ("computes?in bf16",) * 20
    assert (samples.control.kernels, samples.control.warnings) == ({}, ())


def test_suspects_are_judged_alone():
    samples = run(MadeUpArm("t", factor=1.05), MadeUpArm("c", seed=2), suspects=("NET_DELAY",))
    assert set(samples.decisions) == {"NET_DELAY"}


def test_a_suspect_is_judged_however_little_time_it_took_in_the_first_pair():
    """It took a hundredth of the net when it was suspected, and takes just less now."""
    shares = {"ID_0_Conv_a": 0.991, "ID_1_Relu_b": 0.009}
    slower = {**shares, "ID_1_Relu_b": 0.0096}
    samples = run(
        MadeUpArm("t", operators=slower),
        MadeUpArm("c", seed=2, operators=shares),
        operators=True,
        suspects=("ID_1_Relu_b",),
    )
    assert {name: str(one.verdict) for name, one in samples.decisions.items()} == {"ID_1_Relu_b": "regressed"}


def test_a_suspect_that_cannot_be_timed_any_more_is_inconclusive():
    shares = {"ID_0_Conv_a": 0.991}
    samples = run(
        MadeUpArm("t", operators=shares),
        MadeUpArm("c", seed=2, operators=shares),
        operators=True,
        suspects=("ID_1_Relu_b",),
    )
    assert str(samples.decisions["ID_1_Relu_b"].verdict) == "inconclusive"
    assert "none of 6 pairs could be used" in samples.decisions["ID_1_Relu_b"].reason


def test_a_program_without_the_protocol_is_none_of_these():
    with pytest.raises(NoWorkersError, match="control: it does not speak the worker protocol"):
        run(MadeUpArm("t"), MadeUpArm("c", protocol=None))


def test_a_device_that_offers_no_conversation_is_none_either():
    def refuse(forks, layout_seed):
        raise DeviceError("phone: its shell is too old")

    sampler = IterationSampler(Random(1), dict, lambda pid: None, operator_rounds=0, clock="auto")
    with pytest.raises(NoWorkersError, match="too old"):
        sample_pairs(sampler, PairedTest(Comparing()), WorkerSource(refuse, 1.0), WorkerSource(refuse, 1.0))


@pytest.mark.parametrize("error", [ProgramExitError("it ended"), DeviceLostError("the cable fell out")])
def test_a_failure_in_the_middle_names_the_arm_and_keeps_what_there_is(error):
    class Failing(MadeUpArm):
        iterations = 0

        def iteration(self, request):
            self.iterations += 1
            if self.iterations == 60:
                raise error
            return super().iteration(request)

    samples = run(MadeUpArm("t"), Failing("c", seed=2))
    assert str(samples.failure) == f"control: {error}"
    assert type(samples.failure) is type(error)
    assert len(samples.treatment.types[0].values) > 20
    assert samples.decisions == {}


# --- more than two -------------------------------------------------------------------------------------------


def backends(*arms, blocks=6, operator_rounds=0, baseline="reference", substitutes=False, **more):
    """Arms of which one that fails costs itself only."""
    sampler = IterationSampler(
        Random(7),
        dict,
        lambda pid: 1,
        operator_rounds=operator_rounds,
        clock="auto",
        goes_on_without_failed=True,
        **more,
    )
    seen = []
    sampled = sampler.sample(
        {arm.name: arm.source() for arm in arms},
        baseline,
        lambda ratios: seen.append(ratios) or len(seen) >= blocks,
        substitutes=substitutes,
    )
    assert [arm.alive for arm in arms] == [0] * len(arms)
    assert sampled.log_ratios == tuple(seen)
    return sampled


def ratios(sampled, arm):
    return [math.exp(block[arm]["NET_DELAY"]) for block in sampled.log_ratios if arm in block]


def four(journal=None, **more):
    factors = {"reference": 1.0, "same": 1.0, "slow": 2.5, "fast": 0.4}
    return [
        MadeUpArm(name, journal, factor=factor, seed=seed, **more)
        for seed, (name, factor) in enumerate(factors.items())
    ]


@pytest.mark.parametrize("protocol", ["forks", "fresh"])
def test_several_arms_are_each_compared_with_the_baseline(protocol):
    sampled = backends(*four(protocol=protocol))
    assert sampled.failures == {}
    for arm, expected in (("same", 1.0), ("slow", 2.5), ("fast", 0.4)):
        assert ratios(sampled, arm) == pytest.approx([expected] * 6, rel=0.02)
    assert "reference" not in sampled.log_ratios[0]
    assert {one.pairs for one in sampled.sampling.values()} == {6}
    net = sampled.arms["slow"].types[0]
    assert len(net.values) == len(net.pairs) == 6 * sampled.sampling["slow"].rounds


def test_several_arms_have_each_place_in_a_round_as_often():
    journal = []
    backends(*four(journal))
    rounds = [[name for name, _ in journal[i : i + 4]] for i in range(0, len(journal), 4)]
    assert all(len(set(one)) == 4 for one in rounds)
    assert len({tuple(one) for one in rounds}) > 4
    for place in range(4):
        often = [sum(one[place] == name for one in rounds) / len(rounds) for name in set(rounds[0])]
        assert max(often) < 0.4


def test_operators_are_timed_in_a_few_rounds_only():
    sampled = backends(*four(operators={"ID_0_Conv_a": 0.9}), operator_rounds=2)
    of_the_net, of_the_operator = sampled.arms["fast"].types
    assert len(of_the_operator.values) == 6 * 2
    assert len(of_the_net.values) > 6 * 2


def test_an_arm_that_takes_several_threads_leaves_the_others_their_clock():
    arms = four()
    arms[2].facts = {"threads": 2}
    sampled = backends(*arms)
    assert {name: one.clock for name, one in sampled.sampling.items()} == {
        "reference": "cpu",
        "same": "cpu",
        "slow": "wall",
        "fast": "cpu",
    }
    assert sampled.sampling["slow"].clock_reason == "2 threads compute"


def test_a_baseline_of_several_threads_is_compared_by_the_wall():
    arms = four()
    arms[0].facts = {"threads": 2}
    assert {one.clock for one in backends(*arms).sampling.values()} == {"wall"}


class FailingArm(MadeUpArm):
    """Each of its processes fails at an iteration of this number."""

    fails_at = 40
    error = ProgramExitError("it ended")
    iterations = 0

    def iteration(self, request):
        self.iterations += 1
        if self.iterations == self.fails_at:
            raise self.error
        return super().iteration(request)


def test_an_arm_that_fails_costs_the_others_nothing():
    arms = [*four(), FailingArm("broken", seed=9)]
    sampled = backends(*arms)
    assert {name: str(error) for name, error in sampled.failures.items()} == {"broken": "it ended"}
    for name in ("same", "slow", "fast"):
        assert len(ratios(sampled, name)) == 6
    rounds = sampled.sampling["same"].rounds
    assert (
        len(sampled.arms["same"].types[0].values) == 6 * rounds
    )  # of the block that was lost nothing is left
    assert 0 < len(sampled.arms["broken"].types[0].values) < 6 * rounds


def test_the_program_of_an_arm_that_failed_is_ended_before_others_begin_again():
    broken = FailingArm("broken", seed=9)
    alive = []

    class Seeds(list):
        def append(self, seed):
            alive.append(broken.alive)

    backends(MadeUpArm("reference", layout_seeds=Seeds()), broken, MadeUpArm("last", seed=2))
    assert alive[1:] == [0]


def test_without_the_baseline_there_are_times_and_no_ratios():
    sampled = backends(FailingArm("reference", fails_at=1), MadeUpArm("other", seed=2))
    assert set(sampled.failures) == {"reference"}
    assert sampled.log_ratios == ({},) * 6
    assert set(sampled.arms["other"].types[0].pairs) == set(range(6))


def test_the_next_arm_takes_the_place_of_a_baseline_that_fails_at_once():
    arms = (FailingArm("reference", fails_at=1), MadeUpArm("next", seed=2), MadeUpArm("last", seed=3))
    sampled = backends(*arms, substitutes=True)
    assert sampled.baseline == "next"
    assert all(set(one) == {"last"} for one in sampled.log_ratios)


def test_without_the_device_nothing_goes_on():
    sampled = backends(*four(), FailingArm("lost", seed=9, error=DeviceLostError("the cable fell out")))
    assert len(sampled.failures) == 5
    assert {type(one) for one in sampled.failures.values()} == {DeviceLostError}


def test_a_single_program_of_several_that_never_starts_is_dropped():
    sampled = backends(*four(), MadeUpArm("silent", protocol=None))
    assert isinstance(sampled.failures["silent"], NoWorkersError)
    assert len(ratios(sampled, "fast")) == 6


def test_programs_that_all_lack_the_protocol_are_not_compared_so():
    with pytest.raises(NoWorkersError, match="it does not speak the worker protocol"):
        backends(*four(protocol=None))


def test_arms_that_do_not_fit_into_the_memory_together_are_not_compared_so():
    sources = {arm.name: arm.source() for arm in four(rss_bytes=100 * 2**20)}
    memory = {"memory_available_bytes": 400 * 2**20}
    sampler = IterationSampler(Random(1), lambda: memory, lambda pid: 1, operator_rounds=0, clock="auto")
    with pytest.raises(NoWorkersError, match="4 programs of 100 MiB do not fit into 400 MiB of memory"):
        sampler.sample(sources, "reference", lambda _: True)
