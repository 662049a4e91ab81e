from dataclasses import replace
from functools import partial
from random import Random

import pytest

from benchmarking.driver.paired_test import PairedTest, sample_pairs
from benchmarking.driver.plan import Comparing
from benchmarking.driver.process_sampler import ProcessSampler
from benchmarking.driver.sampler import sample_once
from benchmarking.errors import DeviceError, ProgramExitError, RunCancelledError
from benchmarking.frameworks.framework_base import ProgramReport
from benchmarking.programs.command import CpuUse
from benchmarking.results.model import Measurement


class Arm:
    """Counts its runs in a journal that it shares with the other arm; fails at the requested run."""

    def __init__(self, name, journal, error=None, fails_at=None, types=("NET_DELAY",)):
        self.name, self.journal, self.error, self.fails_at, self.types = name, journal, error, fails_at, types
        self.runs = 0

    def __call__(self):
        self.runs += 1
        if self.runs == self.fails_at:
            raise self.error
        self.journal.append(self.name)
        return ProgramReport(
            tuple(Measurement(one, "us", (self.runs * 10.0, self.runs * 10.0 + 1)) for one in self.types),
            facts={"run": self.runs},
        )


def sampler(pairs, seed=1, **comparing):
    """What samples a treatment and a control."""
    test = PairedTest(Comparing(fixed_pairs=pairs, **comparing))
    by_process = ProcessSampler(Random(seed), lambda: {"load_1_min": 0.5}, "--ab_mode process")
    return partial(sample_pairs, by_process, test)


def test_without_a_control_the_program_runs_once():
    samples = sample_once(Arm("t", journal := []))
    assert journal == ["t"]
    assert samples.control is None
    assert samples.treatment.types[0].values == (10.0, 11.0)
    assert samples.treatment.types[0].pairs == (0, 0)


def test_every_pair_has_both_arms_and_the_samples_keep_order_and_pair():
    journal = []
    samples = sampler(4)(Arm("t", journal), Arm("c", journal))
    assert [sorted(journal[i : i + 2]) for i in range(0, 8, 2)] == [["c", "t"]] * 4
    for arm in (samples.treatment, samples.control):
        assert arm.types[0].values == (10, 11, 20, 21, 30, 31, 40, 41)
        assert arm.types[0].pairs == (0, 0, 1, 1, 2, 2, 3, 3)
        assert arm.facts == {"run": 4}


def test_the_order_within_the_pairs_is_random_and_repeatable():
    def order(seed):
        journal = []
        sampler(40, seed)(Arm("t", journal), Arm("c", journal))
        return journal[::2]

    assert order(7) == order(7)
    assert order(7) != order(8)
    assert 8 < order(7).count("t") < 32


@pytest.mark.parametrize("error_type", [ProgramExitError, DeviceError])
def test_a_failed_arm_keeps_what_was_measured_and_is_named(error_type):
    journal = []
    control = Arm("c", journal, error=error_type("exit status 3", "the log"), fails_at=3)
    samples = sampler(5)(Arm("t", journal), control)
    assert type(samples.failure) is error_type
    assert str(samples.failure) == "control: exit status 3"
    assert samples.failure.evidence == "the log"
    assert samples.control.types[0].pairs == (0, 0, 1, 1)
    assert set(samples.treatment.types[0].pairs) >= {0, 1}


def test_a_type_that_one_arm_lacks_stays_with_the_other():
    journal = []
    samples = sampler(1)(Arm("t", journal, types=("NET_DELAY", "ID_0_Conv_c")), Arm("c", journal))
    assert [one.type for one in samples.treatment.types] == ["NET_DELAY", "ID_0_Conv_c"]
    assert [one.type for one in samples.control.types] == ["NET_DELAY"]


def test_a_cancellation_is_not_a_failed_arm():
    with pytest.raises(RunCancelledError):
        sampler(1)(Arm("t", [], error=RunCancelledError("stop"), fails_at=1), Arm("c", []))


class Steady(Arm):
    """Its delays scatter little around a center."""

    def __init__(self, center, seed):
        super().__init__("arm", [])
        self.center, self.random = center, Random(seed)

    def __call__(self):
        return ProgramReport((Measurement("NET_DELAY", "us", (self.random.gauss(self.center, 0.2),) * 3),))


@pytest.mark.parametrize(("center", "verdict"), [(100, "unchanged"), (110, "regressed"), (90, "improved")])
def test_pairs_are_added_until_there_is_a_verdict(center, verdict):
    samples = sampler(None)(Steady(center, 1), Steady(100, 2))
    assert samples.decisions["NET_DELAY"].verdict == verdict
    assert samples.sampling.pairs == (6 if verdict == "unchanged" else 8)
    assert (samples.sampling.level, samples.sampling.clock) == ("process", "wall")
    assert len(samples.sampling.conditions) == samples.sampling.pairs
    assert samples.sampling.conditions[0]["load_1_min"] == 0.5


def test_a_limit_on_seconds_ends_it_without_a_verdict():
    samples = sampler(None, max_seconds=1e-9)(Steady(110, 1), Steady(100, 2))
    assert samples.decisions["NET_DELAY"].verdict == "inconclusive"
    assert samples.sampling.pairs == 1


def test_two_programs_without_a_common_type_have_no_verdict():
    samples = sampler(None)(Arm("t", [], types=("a",)), Arm("c", [], types=("b",)))
    assert (samples.decisions, samples.failure, samples.sampling.pairs) == ({}, None, 1)


class Accelerated(Arm):
    """As long by the wall as another; ``device_us`` by its device's clock."""

    def __init__(self, device_us):
        super().__init__("a", [])
        self.device_us = device_us

    def __call__(self):
        return ProgramReport((Measurement("NET_DELAY", "us", (1000.0, 1001.0), (self.device_us,) * 2),))


@pytest.mark.parametrize(
    ("device_us", "clock", "expected", "ratio"),
    [(900, "auto", "device", 1.0588), (900, "wall", "wall", 1.0), (400, "auto", "wall", 1.0)],
)
def test_pairs_of_processes_go_by_the_clock_of_the_device_that_computes(device_us, clock, expected, ratio):
    comparing = Comparing(fixed_pairs=6)
    by_process = ProcessSampler(Random(1), dict, "--ab_mode process", clock)
    arms = Accelerated(device_us), Accelerated(device_us / 1.0588)
    samples = sample_pairs(by_process, PairedTest(comparing), *arms)
    assert samples.sampling.clock == expected
    assert samples.decisions["NET_DELAY"].comparison.ratio == pytest.approx(ratio)
    assert samples.treatment.types[0].device_values == (device_us,) * 12


def test_the_clock_is_that_of_the_first_process():
    """All pairs are of one clock, also where another would suit later ones."""

    def program(us):
        return lambda: Accelerated(next(us))()

    arms = [program(iter([900, 400, 400])) for _ in range(2)]
    by_process = ProcessSampler(Random(1), dict, "--ab_mode process")
    samples = sample_pairs(by_process, PairedTest(Comparing(fixed_pairs=3)), *arms)
    assert samples.sampling.clock == "device"


class Computing(Arm):
    """A process that is the iteration itself: it takes as long as another by the wall."""

    def __init__(self, cpu_us):
        super().__init__("a", [])
        self.cpu_us = cpu_us

    def __call__(self):
        cpu = CpuUse(self.cpu_us / 1e6, children_s=0.0, first_thread_s=self.cpu_us / 1e6, waited_s=0.0)
        return ProgramReport((Measurement("NET_DELAY", "us", (1000.0,), cpu_values=(self.cpu_us,)),), cpu=cpu)


@pytest.mark.parametrize(
    ("cpu_us", "clock", "computes_on_cpu", "expected", "ratio"),
    [
        (990.0, "auto", True, "cpu", 1.1),
        (990.0, "auto", False, "wall", 1.0),
        (990.0, "wall", True, "wall", 1.0),
        (500.0, "auto", True, "wall", 1.0),
        (500.0, "cpu", True, "cpu", 1.1),
    ],
)
def test_processes_that_compute_go_by_their_cpu_time(cpu_us, clock, computes_on_cpu, expected, ratio):
    by_process = ProcessSampler(Random(1), dict, "", clock, computes_on_cpu=computes_on_cpu)
    arms = Computing(cpu_us), Computing(cpu_us / 1.1)
    samples = sample_pairs(by_process, PairedTest(Comparing(fixed_pairs=6)), *arms)
    assert samples.sampling.clock == expected
    assert samples.decisions["NET_DELAY"].comparison.ratio == pytest.approx(ratio)
    assert samples.treatment.types[0].cpu_values == (cpu_us,) * 6


def test_a_process_that_was_held_up_once_is_looked_at_again():
    def program():
        runs.append(500.0 if len(runs) < 2 else 990.0)
        return Computing(runs[-1])()

    runs = []
    by_process = ProcessSampler(Random(1), dict, "")
    samples = sample_pairs(by_process, PairedTest(Comparing(fixed_pairs=2)), program, program)
    assert samples.sampling.clock == "cpu"
    assert len(runs) == 2 * 2 + 2
    assert len(samples.treatment.types[0].values) == 2


def test_an_operator_that_its_clock_cannot_time_is_not_judged():
    def program():
        times = {"NET_DELAY": 90.0, "ID_0_Conv_a": 101.0, "ID_1_FC_b": 99.0}
        measurements = tuple(Measurement(name, "us", (us, us)) for name, us in times.items())
        return ProgramReport(measurements, facts={"operator_resolution_ns": 1000})

    assert set(sampler(6)(program, program).decisions) == {"NET_DELAY", "ID_0_Conv_a"}


@pytest.mark.parametrize(
    ("clock", "arm", "complaint"),
    [
        ("cpu", Arm("t", []), "--clock cpu: the program does not report its CPU time"),
        ("device", Arm("t", []), "--clock device: the program reports no device time"),
        ("device", Computing(990.0), "--clock device: the program reports no device time"),
        ("cpu", Accelerated(900.0), "--clock cpu: the program does not report its CPU time"),
    ],
)
def test_a_clock_that_a_process_does_not_have_is_an_error_as_it_is_of_workers(clock, arm, complaint):
    by_process = ProcessSampler(Random(1), dict, "", clock)
    samples = sample_pairs(by_process, PairedTest(Comparing(fixed_pairs=2)), arm, arm)
    assert str(samples.failure).endswith(complaint)
    assert samples.decisions == {}


def test_a_device_that_computes_little_is_the_clock_if_it_is_asked_for():
    by_process = ProcessSampler(Random(1), dict, "", "device")
    arms = Accelerated(100.0), Accelerated(50.0)
    samples = sample_pairs(by_process, PairedTest(Comparing(fixed_pairs=2)), *arms)
    assert (samples.sampling.clock, samples.failure) == ("device", None)
    assert samples.decisions["NET_DELAY"].comparison.ratio == pytest.approx(2.0)


def test_a_pair_without_the_clock_of_the_others_is_not_compared_by_another():
    """Its device time is missing: a ratio of wall times among those of the device would be another number."""

    reports = iter([900.0, 900.0, None, 900.0, 900.0, 900.0])

    def one():
        device_us = next(reports)
        report = Accelerated(900.0)()
        if device_us is not None:
            return report
        return replace(report, measurements=(replace(report.measurements[0], device_values=()),))

    by_process = ProcessSampler(Random(1), dict, "")
    samples = sample_pairs(by_process, PairedTest(Comparing(fixed_pairs=3)), one, one)
    assert samples.sampling.clock == "device"
    assert samples.decisions["NET_DELAY"].comparison.pairs == 2
