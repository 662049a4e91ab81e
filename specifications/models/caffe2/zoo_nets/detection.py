"""The part of Faster R-CNN (Ren et al., 2015) behind the features, as Detectron writes it; small."""

from __future__ import annotations

from net_builder import Arguments, NetBuilder

FEATURES = 32
STRIDE = 16
"""Of the features in the image."""
ANCHORS = [(-24.0, -24.0, 39.0, 39.0), (-56.0, -24.0, 71.0, 39.0), (-24.0, -56.0, 39.0, 71.0)]
"""Left, top, right, bottom in pixels, around the first cell."""
POOLED = 7
HIDDEN = 128
CLASSES = 6
"""The background is the first."""


def faster_rcnn_head() -> NetBuilder:
    """From ``features`` (1, 32, H, W) and ``im_info`` (1, 3): image height, width and scale.

    Outputs of M detections: ``score_nms`` (M,), ``bbox_nms`` (M, 4) in pixels, ``class_nms`` (M,).
    """
    net = NetBuilder("faster_rcnn_head", "features", FEATURES)
    _proposals(net)
    pool: Arguments = {"order": "NCHW", "pooled_h": POOLED, "pooled_w": POOLED, "sampling_ratio": 2}
    net.operator("RoIAlign", ["features", "rpn_rois"], ["roi_feat"], {**pool, "spatial_scale": 1 / STRIDE})
    net.relu(net.fully_connected("roi_feat", "fc6", FEATURES * POOLED * POOLED, HIDDEN))
    net.relu(net.fully_connected("fc6", "fc7", HIDDEN, HIDDEN))
    net.operator("Softmax", [net.fully_connected("fc7", "cls_score", HIDDEN, CLASSES)], ["cls_prob"])
    net.fully_connected("fc7", "bbox_pred", HIDDEN, 4 * CLASSES)
    transform: Arguments = {
        "weights": [10.0, 10.0, 5.0, 5.0],
        "apply_scale": 0,
        "correct_transform_coords": 1,
    }
    net.operator("BBoxTransform", ["rpn_rois", "bbox_pred", "im_info"], ["pred_bbox"], transform)
    limits: Arguments = {"score_thresh": 0.05, "nms": 0.5, "detections_per_im": 20}
    detections = ["score_nms", "bbox_nms", "class_nms"]
    net.operator("BoxWithNMSLimit", ["cls_prob", "pred_bbox"], detections, limits)
    net.finish(detections[0])
    net.net.external_input.append("im_info")
    net.net.external_output.extend(detections[1:])
    return net


def _proposals(net: NetBuilder) -> None:
    """To ``rpn_rois`` (R, 5): of each, the image's number and a box in pixels."""
    blob = net.relu(net.convolution("features", "conv_rpn", FEATURES, 3, pad=1))
    net.operator("Sigmoid", [net.convolution(blob, "rpn_cls_logits", len(ANCHORS), 1)], ["rpn_cls_probs"])
    net.convolution(blob, "rpn_bbox_pred", 4 * len(ANCHORS), 1)
    anchors = net.parameter("anchor", (len(ANCHORS), 4))
    limits: Arguments = {"pre_nms_topN": 200, "post_nms_topN": 50, "nms_thresh": 0.7, "min_size": 0.0}
    net.operator(
        "GenerateProposals",
        ["rpn_cls_probs", "rpn_bbox_pred", "im_info", anchors],
        ["rpn_rois", "rpn_roi_probs"],
        {**limits, "spatial_scale": 1 / STRIDE, "correct_transform_coords": 1},
    )
