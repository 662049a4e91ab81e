"""The predict nets of Caffe2's model zoo as of March 2018, and a few beside them, by family.

Each function builds one net; its docstring says what goes in and out. Nets that are byte for byte the zoo's
file are those of ``ZOO_MD5``; the others have the same operators, names and shapes.
"""

from __future__ import annotations

from collections.abc import Callable

from net_builder import NetBuilder

from .alexnet import bvlc_alexnet, bvlc_reference_caffenet, bvlc_reference_rcnn_ilsvrc13, vgg16
from .dense import densenet121
from .inception import bvlc_googlenet, inception_v1, inception_v2
from .lenet import lenet
from .mobile import mobilenet_v2, shufflenet, squeezenet
from .residual import resnet50
from .style import style_transfer
from .vgg import vgg16_true, vgg19

__all__ = [
    "ZOO_MD5",
    "ZOO_NETS",
    "bvlc_alexnet",
    "bvlc_googlenet",
    "bvlc_reference_caffenet",
    "bvlc_reference_rcnn_ilsvrc13",
    "densenet121",
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

ZOO_NETS: dict[str, Callable[[], NetBuilder]] = {
    builder.__name__: builder
    for builder in (
        *(squeezenet, shufflenet, mobilenet_v2, resnet50, densenet121),
        *(bvlc_googlenet, inception_v1, inception_v2),
        *(bvlc_alexnet, bvlc_reference_caffenet, bvlc_reference_rcnn_ilsvrc13, vgg16),
        *(vgg16_true, vgg19, style_transfer),
    )
}

ZOO_MD5 = {
    "bvlc_alexnet": "e1414dd8979f06db0374794a6c24776f",
    "bvlc_googlenet": "8b18c0c6d4cc85eca157b0e8d81e2f94",
    "bvlc_reference_caffenet": "165ea54221cc40ec7f14e518178d6845",
    "bvlc_reference_rcnn_ilsvrc13": "960b6ea7a44230d75ff95a737904bd43",
    "densenet121": "f53cb9ef2ceb556770e3609510bdf37d",
    "inception_v1": "b1167d7c6e8915176417557c628d3ae7",
    "inception_v2": "f2e45908788017f6218e88503146f9fa",
    "squeezenet": "694bfdd02e9ccb57bfc4acb451fbfb2d",
    "style_transfer": "63d3ed009753843ff45cbb6eee1152ae",
    "vgg19": "1f66f287e43b2c1197d2d28533d4700e",
}
"""MD5 of the zoo's predict nets that are made here byte for byte."""
