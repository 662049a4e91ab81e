"""The ExecuTorch benchmark program. This directory, or the harness's zipapp of it, is run by Python."""

import os
import sys

if not __package__:  # the directory was named: its modules are found from the root of the packages
    sys.path[0] = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), *[os.pardir] * 4))

from benchmarking.frameworks.executorch.program.executorch_program import ExecuTorchProgram
from benchmarking.frameworks.kit.main import leave, run

leave(run(ExecuTorchProgram(), sys.argv[1:]))
