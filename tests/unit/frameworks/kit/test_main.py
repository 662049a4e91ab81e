"""What a program reports of its own process."""

import json

import pytest

from benchmarking.frameworks.kit import counters, main, matrix_product


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
