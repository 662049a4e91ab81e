"""Runs nets in real Caffe2."""
