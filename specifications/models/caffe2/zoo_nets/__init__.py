"""The predict nets of Caffe2's model zoo as of March 2018, and a few beside them, by family.

Each function builds one net; its docstring says what goes in and out. All but resnet50, shufflenet and vgg16
are byte for byte the zoo's files, as their MD5 shows; these have the same operators and shapes.
Not of the zoo's list are lenet, mobilenet_v2, vgg16_true and faster_rcnn_head.
"""

from __future__ import annotations

from .alexnet import bvlc_alexnet, bvlc_reference_caffenet, bvlc_reference_rcnn_ilsvrc13, vgg16
from .dense import densenet121
from .detection import faster_rcnn_head
from .inception import bvlc_googlenet, inception_v1, inception_v2
from .lenet import lenet
from .mobile import mobilenet_v2, shufflenet, squeezenet
from .residual import resnet50
from .style import style_transfer
from .vgg import vgg16_true, vgg19

__all__ = [
    "bvlc_alexnet",
    "bvlc_googlenet",
    "bvlc_reference_caffenet",
    "bvlc_reference_rcnn_ilsvrc13",
    "densenet121",
    "faster_rcnn_head",
    "inception_v1",
    "inception_v2",
    "lenet",
    "mobilenet_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "style_transfer",
    "vgg16",
    "vgg16_true",
    "vgg19",
]
