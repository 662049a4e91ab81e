"""The Caffe2 benchmark program. It stands alone: Python runs this directory, or a zipapp of it."""
