"""The Caffe2 benchmark program. It stands alone: this directory, or a zipapp of it, is run by Python."""
