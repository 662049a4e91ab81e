"""The Caffe2 benchmark program. This directory, or the zipapp that the harness makes, is run by Python."""

import os
import sys

if not __package__:  # the directory was named: its modules are found from the root of the packages
    sys.path[0] = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), *[os.pardir] * 4))

from benchmarking.frameworks.caffe2.program.caffe2_benchmark.caffe2_program import Caffe2Program
from benchmarking.frameworks.kit.main import leave, run

leave(run(Caffe2Program(), sys.argv[1:]))
