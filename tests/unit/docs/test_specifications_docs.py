"""The examples of docs/specifications.md are specifications that can be run."""

import json
import re

import pytest

from benchmarking.frameworks.frameworks import FRAMEWORKS
from benchmarking.specs.expand import expand
from benchmarking.specs.reader import read_benchmarks
from tests.support.doc_examples import DOCS

EXAMPLES = re.findall(
    r"```json\n(.*?)```", (DOCS / "specifications.md").read_text(encoding="utf-8"), re.DOTALL
)


@pytest.mark.parametrize("text", EXAMPLES, ids=range(len(EXAMPLES)))
def test_each_example_can_be_run(tmp_path, text):
    json.loads(text)
    (tmp_path / "b.json").write_text(text)
    cases = expand(read_benchmarks(tmp_path / "b.json"), tmp_path)
    assert cases
    for case in cases:
        assert case.refusal is None
        frameworks = [one() for one in FRAMEWORKS.values() if {*case.model.format_names} & {*one.formats}]
        assert frameworks
        for framework in frameworks:
            assert list(framework.check(case.in_first_format_of(framework.formats))) == []
