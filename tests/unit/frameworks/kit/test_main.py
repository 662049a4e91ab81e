"""What a program reports of its own process."""

import io
import json
from dataclasses import replace

import pytest

from benchmarking.frameworks.kit import counters, main, matrix_product
from benchmarking.frameworks.kit.flags import Settings, parse
from benchmarking.frameworks.kit.output import Observer
from benchmarking.frameworks.kit.program import LoadedModel


class Recorded(LoadedModel):
    """Tells only later how long its operators took."""

    operators_later = True
    operator_names = ("a",)

    def __init__(self):
        self.runs = []

    def run(self):
        self.runs.append("whole")

    def run_operators(self):
        self.runs.append("operators")
        return []

    def take_operator_times(self):
        return {"a": [1000] * self.runs.count("operators")}

    def observe(self):
        raise NotImplementedError

    operators = output_names = output = observe


def test_another_session_for_operators_does_not_run_between_the_iterations_that_are_timed():
    model, stream = Recorded(), io.StringIO()
    settings = replace(parse(Settings, ["--iter", "3"]), run_individual=True)
    main._run(model, settings, Observer(stream, "program"))
    assert model.runs == ["whole"] * 3 + ["operators"] * 3
    assert stream.getvalue().count(" a - 1.000 (us)") == 3


@pytest.mark.parametrize(("warmup", "peak"), [("1", 100), ("0", 200)])
def test_the_memory_is_that_of_the_model_and_not_of_observing_it(monkeypatch, capsys, warmup, peak):
    monkeypatch.setattr(main.gc, "disable", lambda: None)
    used = [100]
    monkeypatch.setattr(counters, "peak_resident_bytes", lambda: used[0])
    observe = matrix_product._Product.observe

    def observe_with_more_memory(product):
        used[0] = 200
        return observe(product)

    monkeypatch.setattr(matrix_product._Product, "observe", observe_with_more_memory)
    assert main.run(matrix_product.MatrixProduct(), ["--iter", "1", "--warmup", warmup]) == 0
    (facts,) = [line for line in capsys.readouterr().err.splitlines() if "peak_rss_bytes" in line]
    assert json.loads(facts.partition(" facts ")[2]) == {"peak_rss_bytes": peak}
