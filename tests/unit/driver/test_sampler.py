from random import Random

import pytest

from benchmarking.driver.sampler import ProcessSampler
from benchmarking.errors import DeviceError, ProgramExitError, RunCancelledError
from benchmarking.frameworks.framework_base import ProgramReport
from benchmarking.results import Measurement


class Arm:
    """Counts its runs in a journal that it shares with the other arm; fails at the run that it is told."""

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


def test_without_a_control_the_program_runs_once():
    samples = ProcessSampler(5, Random(1)).sample(Arm("t", journal := []), None)
    assert journal == ["t"]
    assert samples.control is None
    assert samples.treatment.types[0].values == (10.0, 11.0)
    assert samples.treatment.types[0].pairs == (0, 0)


def test_every_pair_has_both_arms_and_the_samples_keep_order_and_pair():
    journal = []
    samples = ProcessSampler(4, Random(1)).sample(Arm("t", journal), Arm("c", journal))
    assert [sorted(journal[i : i + 2]) for i in range(0, 8, 2)] == [["c", "t"]] * 4
    for arm in (samples.treatment, samples.control):
        assert arm.types[0].values == (10, 11, 20, 21, 30, 31, 40, 41)
        assert arm.types[0].pairs == (0, 0, 1, 1, 2, 2, 3, 3)
        assert arm.facts == {"run": 4}


def test_the_order_within_the_pairs_is_random_and_repeatable():
    def order(seed):
        journal = []
        ProcessSampler(40, Random(seed)).sample(Arm("t", journal), Arm("c", journal))
        return journal[::2]

    assert order(7) == order(7)
    assert order(7) != order(8)
    assert 8 < order(7).count("t") < 32


@pytest.mark.parametrize("error_type", [ProgramExitError, DeviceError])
def test_a_failed_arm_keeps_what_was_measured_and_is_named(error_type):
    journal = []
    control = Arm("c", journal, error=error_type("exit status 3", "the log"), fails_at=3)
    samples = ProcessSampler(5, Random(1)).sample(Arm("t", journal), control)
    assert type(samples.failure) is error_type
    assert str(samples.failure) == "control: exit status 3"
    assert samples.failure.evidence == "the log"
    assert samples.control.types[0].pairs == (0, 0, 1, 1)
    assert set(samples.treatment.types[0].pairs) >= {0, 1}


def test_a_type_that_one_arm_lacks_stays_with_the_other():
    journal = []
    samples = ProcessSampler(1, Random(1)).sample(
        Arm("t", journal, types=("NET_DELAY", "ID_0_Conv_c")), Arm("c", journal)
    )
    assert [one.type for one in samples.treatment.types] == ["NET_DELAY", "ID_0_Conv_c"]
    assert [one.type for one in samples.control.types] == ["NET_DELAY"]


def test_a_cancellation_is_not_a_failed_arm():
    with pytest.raises(RunCancelledError):
        ProcessSampler(1, Random(1)).sample(Arm("t", [], error=RunCancelledError("stop"), fails_at=1), None)
