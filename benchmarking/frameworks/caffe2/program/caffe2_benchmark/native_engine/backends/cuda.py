"""NVIDIA GPUs."""

from __future__ import annotations

from caffe2.proto import caffe2_pb2
from caffe2.python import workspace

from .device import Device


class Cuda(Device):
    name = "cuda"
    device_type = caffe2_pb2.CUDA
    kernel = "caffe2:cuda"
    to_device, to_host = "CopyCPUToGPU", "CopyGPUToCPU"

    @classmethod
    def why_unavailable(cls) -> str:
        if workspace.has_cuda_support and workspace.NumCudaDevices():
            return ""
        return "Caffe2 finds no CUDA device: it needs an NVIDIA GPU, its driver and torch 1.10.2 with CUDA"
