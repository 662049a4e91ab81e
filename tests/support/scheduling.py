"""One process's end is one test's failure, and not that of the whole run."""

import pytest
from xdist.scheduler import LoadFileScheduling


class FilesInTurn(LoadFileScheduling):
    def _assign_work_unit(self, node):
        """A process begins a test when it knows the next one. From a process that crashed it may get a file of
        which one test is left, or none: xdist (3.8) would wait for it forever.
        """
        super()._assign_work_unit(node)
        while self.workqueue and self._pending_of(self.assigned_work[node]) < 2:
            super()._assign_work_unit(node)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """Says how a process ended, which xdist does not: by which signal, say."""
    if error:
        terminal = node.config.pluginmanager.get_plugin("terminalreporter")
        terminal.write_line(f"the process of {node.gateway.id} ended: {node.gateway._io.popen.wait(60)}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return FilesInTurn(config, log) if config.getoption("dist") == "loadfile" else None
