"""The scripts that hold the frequency of all cores, run by the machine's own shell on files like the kernel's."""

import subprocess

import pytest

from benchmarking.platforms import frequency

LIMITS = ("cpuinfo_min_freq", "cpuinfo_max_freq", "scaling_min_freq", "scaling_max_freq")


@pytest.fixture
def cores(tmp_path, monkeypatch):
    """Two cores, of which the second is faster."""
    directories = []
    for number, values in enumerate(((400, 1800, 400, 1200), (500, 2600, 600, 2600))):
        directory = tmp_path / f"sys/cpu{number}/cpufreq"
        directory.mkdir(parents=True)
        for name, value in zip(LIMITS, values, strict=True):
            (directory / name).write_text(f"{value}\n")
        directories.append(directory)
    monkeypatch.setattr(frequency, "_DIRECTORIES", f"{tmp_path}/sys/cpu[0-9]*/cpufreq")
    return directories


def sh(script):
    return subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)


def scaling(cores):
    return [tuple(int((core / name).read_text()) for name in LIMITS[2:]) for core in cores]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("max", [(1800, 1800), (2600, 2600)]), ("min", [(400, 400), (500, 500)]), ("900", [(900, 900)] * 2)],
)
def test_the_frequency_is_set_on_every_core_and_restored(cores, tmp_path, wanted, expected):
    kept = str(tmp_path / "it's kept")
    done = sh(frequency.set_script(kept, wanted))
    assert (done.returncode, done.stderr) == (0, "")
    assert scaling(cores) == expected
    assert sh(frequency.restore_script(kept)).returncode == 0
    assert scaling(cores) == [(400, 1200), (600, 2600)]
    assert list((tmp_path / "it's kept").iterdir()) == []
    assert sh(frequency.restore_script(kept)).returncode == 0


def test_a_kernel_that_refuses_the_frequency_is_an_error_that_names_the_limits(cores, tmp_path):
    (cores[1] / "scaling_max_freq").unlink()
    (cores[1] / "scaling_max_freq").symlink_to("/dev/null")
    done = sh(frequency.set_script(str(tmp_path / "kept"), "900"))
    assert done.returncode == 1
    assert "the frequency cannot be set to 900 kHz: its limits are 900 " in done.stderr


def test_a_kernel_without_frequencies_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(frequency, "_DIRECTORIES", f"{tmp_path}/nonesuch*")
    done = sh(frequency.set_script(str(tmp_path / "kept"), "max"))
    assert (done.returncode, done.stderr) == (1, "this kernel does not allow setting the CPU's frequency\n")
    assert not (tmp_path / "kept").exists()
