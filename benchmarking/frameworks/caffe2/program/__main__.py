import sys

from caffe2_benchmark.main import leave, main

leave(main(sys.argv[1:]))
