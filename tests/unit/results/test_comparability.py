"""What must be the same for two runs to be judged against each other."""

from benchmarking.results import comparability


def test_only_facts_that_both_report_can_differ():
    assert comparability.differences({"threads": 1}, {"threads": 2}) == ("threads 1 and 2",)
    assert comparability.differences({"threads": 1}, {}) == ()
    assert comparability.differences({"net": "a", "threads": 1}, {"net": "b", "threads": 1}) == ()


def test_versions_count_in_the_history_only():
    one, other = {"engine_version": "2.13", "backend": "eigen"}, {"engine_version": "2.14", "backend": "mkl"}
    assert comparability.differences(one, other) == ("backend eigen and mkl",)
    assert comparability.differences(one, other, comparability.PROGRAM_VERSIONS) == (
        "engine_version 2.13 and 2.14",
    )
