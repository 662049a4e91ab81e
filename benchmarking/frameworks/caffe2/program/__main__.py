import sys

from caffe2_benchmark.main import main

sys.exit(main(sys.argv[1:]))
