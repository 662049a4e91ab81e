"""Runs Caffe2 nets on current torch, operator by operator."""
