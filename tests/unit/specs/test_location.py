import pytest

from benchmarking.specs.location import resolve


@pytest.mark.parametrize(
    "text", ["a" * 300, "b/" * 3000, "//" + "c" * 300], ids=["name", "path", "below the root"]
)
def test_a_path_that_is_too_long_is_a_fault_of_the_specification(tmp_path, text):
    with pytest.raises(ValueError, match=r"\.\.\.' is too long for a path"):
        resolve(text, tmp_path / "tiny.json", tmp_path)


def test_an_address_may_be_long(tmp_path):
    url = "https://example.org/" + "a" * 5000
    assert resolve(url, tmp_path / "tiny.json", None).value == url
