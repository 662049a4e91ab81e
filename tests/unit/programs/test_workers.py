"""Fresh workers of a program, and the order in which they can be asked for."""

import json
from contextlib import contextmanager

import pytest

from benchmarking.programs.workers import NoWorkersError, WorkerSource

READY = {"protocol": 1, "ready": True}
ANSWERS = {"run": {"wall_ns": 5}, "fork": READY, "end": {"ended": True}}


class Program:
    """Answers as ``ANSWERS`` says, after its first answer."""

    pid = None

    def __init__(self, first):
        self.lines, self.answers = [], [first]

    def write_line(self, line):
        self.lines.append(str(line))
        self.answers.append(ANSWERS[line])

    def read_line(self, timeout_s):
        return json.dumps(self.answers.pop(0))


class Programs:
    """Starts programs, and knows which of them run."""

    def __init__(self, *, fork):
        self.fork = fork
        self.started, self.running = [], []

    @contextmanager
    def start(self, forks, layout_seed):
        first = {"protocol": 1, "forks": True} if self.fork else READY
        program = Program(first if forks else READY)
        self.started.append((forks, layout_seed))
        self.running.append(program)
        try:
            yield program
        finally:
            self.running.remove(program)

    def source(self):
        return WorkerSource(self.start, 1.0)


def run_once(source):
    with source.fresh() as worker:
        return worker.run().wall_ns


def test_workers_are_forked_from_a_program_that_stays():
    programs = Programs(fork=True)
    with programs.source() as source:
        source.begin(7)
        source.get_ready()
        assert [run_once(source), run_once(source)] == [5, 5]
        source.prepare()
        source.prepare()  # it does already
        assert run_once(source) == 5
        (program,) = programs.running
        assert program.lines == ["fork", "run", "end"] * 3
        source.begin(8)  # from any state
        source.get_ready()
        assert run_once(source) == 5
    assert programs.started == [(True, 7), (True, 8)]
    assert programs.running == []


def test_a_program_that_does_not_fork_is_started_for_each_worker():
    programs = Programs(fork=False)
    with programs.source() as source:
        source.begin(7)
        source.get_ready()
        assert programs.running == []
        source.prepare()
        assert [run_once(source), run_once(source)] == [5, 5]
        source.begin(8)
        source.get_ready()
        assert run_once(source) == 5
    assert programs.started == [(True, 7), (False, 7), (False, 7), (False, 7), (False, 8)]
    assert programs.running == []


def test_a_way_that_offers_no_conversation():
    with WorkerSource(lambda forks, layout_seed: None, 1.0) as source, pytest.raises(NoWorkersError):
        source.begin(7)


@pytest.mark.parametrize(
    ("calls", "state"),
    [
        (["get_ready"], "CLOSED"),
        (["prepare"], None),
        (["fresh"], "CLOSED"),
        (["begin", "fresh"], "STARTING"),
        (["begin", "get_ready", "get_ready"], "IDLE"),
        (["begin", "get_ready", "close", "fresh"], "CLOSED"),
        (["begin", "get_ready", "fresh", "fresh"], "AT_WORK"),
        (["begin", "get_ready", "fresh", "prepare"], "AT_WORK"),
        (["begin", "get_ready", "fresh", "begin", "get_ready", "fresh"], None),
    ],
)
def test_another_order_of_calls_is_a_bug(calls, state):
    source = Programs(fork=True).source()
    begun = []  # a worker lives as long as what has begun it

    def call(name):
        if name == "fresh":
            begun.append(source.fresh())
            begun[-1].__enter__()
        elif name == "begin":
            source.begin(7)
        else:
            getattr(source, name)()

    for name in calls[:-1]:
        call(name)
    if state is None:
        call(calls[-1])
    else:
        with pytest.raises(RuntimeError, match=f"but {state}"):
            call(calls[-1])
