import contextlib
import logging
import os
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.device_lab.lab import DeviceLab, why_not
from tests.support.scheduling import pytest_testnodedown, pytest_xdist_make_scheduler  # noqa: F401 - hooks

# Programs under test inherit it; under nohup they would rightly ignore it.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
# Tests with state directories of their own do not wait for each other.
os.environ["ML_BENCHMARK_MACHINE_LOCKS"] = ""
# What is piped is as wide as it says. Some shells export it, and readline sets it behind Python's back when it
# is loaded, which is now.
with contextlib.suppress(ImportError):
    import readline  # noqa: F401
os.environ["COLUMNS"] = ""


@pytest.fixture(autouse=True)
def log_level():
    """The level that a program sets, which a test ran in this process, is not that of the next test."""
    yield
    logging.getLogger("benchmarking").setLevel(logging.NOTSET)


def pytest_collection():
    """Programs under test, among them pytest, do not inherit what CI adds for these tests; workers have it now."""
    os.environ.pop("PYTEST_ADDOPTS", None)


# Their programs run in other processes, or are left out of the measured coverage (pyproject.toml).
NOT_TRACED = [Path(__file__).parent / one for one in ("e2e", "unit/frameworks/caffe2/program")]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    """Tracing doubles the time of what runs in a test's own process, pytest included: the marker ``no_cover``
    would leave most of it.
    """
    controller = getattr(item.config.pluginmanager.getplugin("_cov"), "cov_controller", None)
    is_traced = not any(directory in item.path.parents for directory in NOT_TRACED)
    if controller is not None and controller.started != is_traced:
        (controller.resume if is_traced else controller.pause)()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """A log with the name of a file that is not UTF-8 cannot be sent from one process of xdist to another."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture(scope="module")
def lab():
    """Real devices; while a module's tests run, this process is in the lab's network."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    architectures = ["amd64", *(["arm64"] if why_not("arm64") is None else [])]
    with DeviceLab(architectures) as one, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{one.programs}{os.pathsep}{os.environ['PATH']}")
        yield one
