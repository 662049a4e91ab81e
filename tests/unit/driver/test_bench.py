"""How long a device may take to become steady before a test."""

from types import SimpleNamespace

import pytest

from benchmarking.driver import conditions
from benchmarking.driver.bench import Bench


@pytest.mark.parametrize(
    ("of_run", "of_test", "refusal", "waited_s"),
    [
        (None, None, None, None),
        (None, 7.0, None, 7.0),
        (9.0, 7.0, None, 9.0),
        (0.0, 7.0, None, 0.0),
        (9.0, None, None, 9.0),
        (9.0, 7.0, "its commands are not allowed", None),
    ],
)
def test_the_users_limit_goes_before_the_specifications(monkeypatch, of_run, of_test, refusal, waited_s):
    waits = []
    monkeypatch.setattr(conditions, "cool_down", lambda _, limit_s, __: waits.append(limit_s))
    platform = SimpleNamespace(conditions=dict)
    bench = Bench(platform, SimpleNamespace(cooldown_s=of_run), None, None)
    bench.watch(SimpleNamespace(cooldown_s=of_test, refusal=refusal))
    assert waits == ([] if waited_s is None else [waited_s])
