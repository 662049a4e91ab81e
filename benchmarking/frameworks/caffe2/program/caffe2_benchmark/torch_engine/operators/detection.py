"""What detection nets (Faster and Mask R-CNN) have between and behind their convolutions.

Boxes are rows x1, y1, x2, y2; with ``legacy_plus_one`` (the default) x2 and y2 are the last pixel inside.
"""

from __future__ import annotations

import math
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

import torch

from ..registry import Compute, Operator, operator, require
from .geometry import is_channels_last, to_channels_first, to_channels_last

LARGEST_LOG_GROWTH = math.log(1000 / 16)
"""Of a box's width or height by its deltas: 16 pixels, an anchor's least size, to 1000."""


# --- regions of interest ------------------------------------------------------------------------------------


@operator("RoIAlign", inputs=(2, 2))
def align_regions(op: Operator) -> Compute:
    """x (N, C, H, W) and regions (R, 4), or (R, 5) with the image first, to (R, C, pooled_h, pooled_w).

    Each output is the average over a grid of bilinear samples (He et al. 2017). Sampling is linear in each
    direction: one matrix makes rows of rows, one columns of columns.
    """
    pooled = op.arguments.integer("pooled_h", 1), op.arguments.integer("pooled_w", 1)
    factor = op.arguments.number("spatial_scale", 1.0)
    ratio = op.arguments.integer("sampling_ratio", -1)
    is_aligned = op.arguments.boolean("aligned", False)
    channels_last = is_channels_last(op.arguments)
    shift = 0.5 if is_aligned else 0.0

    def compute(x: Any, regions: Any) -> Any:
        if channels_last:
            x = to_channels_first(x)
        result = x.new_zeros((regions.shape[0], x.shape[1], *pooled))
        images, boxes = _images_and_boxes(regions, x.shape[0])
        for number, (image, box) in enumerate(zip(images, (boxes * factor - shift).tolist())):
            x1, y1, x2, y2 = box
            width, height = x2 - x1, y2 - y1
            if not is_aligned:
                width, height = max(width, 1.0), max(height, 1.0)
            top, rows = _sampling(y1, height, pooled[0], x.shape[2], ratio)
            left, columns = _sampling(x1, width, pooled[1], x.shape[3], ratio)
            part = x[image, :, top : top + rows.shape[1], left : left + columns.shape[1]]
            result[number] = torch.matmul(torch.matmul(rows, part), columns.t())
        return to_channels_last(result) if channels_last else result

    return compute


def _images_and_boxes(regions: Any, count: int) -> Tuple[List[int], Any]:
    require(
        regions.dim() == 2 and regions.shape[1] in (4, 5), "the regions have neither 4 nor 5 values in a row"
    )
    if regions.shape[1] == 4:
        return [0] * regions.shape[0], regions
    images = [int(one) for one in regions[:, 0].tolist()]
    require(all(0 <= one < count for one in images), "a region is of an image that is not there")
    return images, regions[:, 1:]


def _sampling(start: float, length: float, bins: int, size: int, ratio: int) -> Tuple[int, Any]:
    """The first place that is read, and the weights (bins, places): averages of linear interpolations.

    A sample more than one place outside counts as 0, one within that place as the edge.
    """
    samples = ratio if ratio > 0 else max(math.ceil(length / bins), 0)
    if samples == 0:
        return 0, torch.zeros((bins, 1))
    steps = (torch.arange(samples) + 0.5) / samples
    places = start + (torch.arange(bins)[:, None] + steps) * (length / bins)
    is_inside = ((places >= -1) & (places <= size)).to(torch.float32) / samples
    places = places.clamp(0, size - 1)
    low = places.floor().to(torch.int64)
    high = (low + 1).clamp_(max=size - 1)
    rest = places - low
    first, last = int(low.min()), int(high.max())
    weights = torch.zeros((bins, last - first + 1))
    weights.scatter_add_(1, low - first, (1 - rest) * is_inside)
    weights.scatter_add_(1, high - first, rest * is_inside)
    return first, weights


@operator("RoIPool", inputs=(2, 2), outputs=(1, 2))
def pool_regions(op: Operator) -> Compute:
    """Like RoIAlign, with the maximum over whole places (Girshick 2015); an empty bin is 0."""
    pooled = op.arguments.integer("pooled_h", 1), op.arguments.integer("pooled_w", 1)
    factor = op.arguments.number("spatial_scale", 1.0)
    require(not is_channels_last(op.arguments), "only the order NCHW is supported")
    require(
        op.arguments.boolean("is_test", False) and op.output_count == 1,
        "only is_test = 1 is supported: this program does not train",
    )

    def compute(x: Any, regions: Any) -> Any:
        result = x.new_zeros((regions.shape[0], x.shape[1], *pooled))
        images, boxes = _images_and_boxes(regions, x.shape[0])
        for number, (image, box) in enumerate(zip(images, (boxes * factor).tolist())):
            x1, y1, x2, y2 = (math.floor(one + 0.5) for one in box)
            for row, (top, bottom) in enumerate(_bins(y1, y2, pooled[0], x.shape[2])):
                for column, (left, right) in enumerate(_bins(x1, x2, pooled[1], x.shape[3])):
                    if top < bottom and left < right:
                        part = x[image, :, top:bottom, left:right]
                        result[number, :, row, column] = part.amax((1, 2))
        return result

    return compute


def _bins(first: int, last: int, count: int, size: int) -> List[Tuple[int, int]]:
    length = max(last - first + 1, 1)
    return [
        (
            min(max(number * length // count + first, 0), size),
            min(max(-(-(number + 1) * length // count) + first, 0), size),
        )
        for number in range(count)
    ]


# --- boxes --------------------------------------------------------------------------------------------------


class _BoxRules(NamedTuple):
    """How an operator moves and measures boxes."""

    weights: Tuple[float, ...]
    plus_one: float
    """What a box is wider than x2 - x1."""

    @classmethod
    def of(cls, op: Operator) -> _BoxRules:
        require(not op.arguments.boolean("rotated", False), "rotated boxes are not supported")
        weights = tuple(op.arguments.numbers("weights") or (1.0, 1.0, 1.0, 1.0))
        require(len(weights) == 4, "there are not 4 weights")
        return cls(weights, float(op.arguments.boolean("legacy_plus_one", True)))

    def moved(self, boxes: Any, deltas: Any) -> Any:
        """Boxes (R, 4) moved by deltas (R, 4): centre by shares of the size, size by logarithms."""
        sizes = boxes[:, 2:] - boxes[:, :2] + self.plus_one
        centres = boxes[:, :2] + 0.5 * sizes
        weights = torch.tensor(self.weights)
        centres = deltas[:, :2] / weights[:2] * sizes + centres
        growth = (deltas[:, 2:] / weights[2:]).clamp(max=LARGEST_LOG_GROWTH)
        halves = 0.5 * growth.exp() * sizes
        return torch.cat([centres - halves, centres + halves - self.plus_one], 1)

    def clipped(self, boxes: Any, height: float, width: float) -> Any:
        limits = torch.tensor([width, height] * 2) - self.plus_one
        return torch.minimum(boxes, limits).clamp_(min=0)

    def overlaps(self, box: Any, boxes: Any) -> Any:
        """Intersection over union of one box (4,) with each of (R, 4)."""
        areas = (boxes[:, 2:] - boxes[:, :2] + self.plus_one).prod(1)
        area = (box[2:] - box[:2] + self.plus_one).prod()
        low, high = torch.maximum(box[:2], boxes[:, :2]), torch.minimum(box[2:], boxes[:, 2:])
        common = (high - low + self.plus_one).clamp_(min=0).prod(1)
        return common / (area + areas - common)


@operator("BBoxTransform", inputs=(3, 3), outputs=(1, 2))
def transform_boxes(op: Operator) -> Compute:
    """Regions (R, 4 or 5), deltas (R, 4 * classes), images (N, 3: height, width, scale) to boxes as deltas.

    The second output is how many boxes each image has.
    """
    rules = _BoxRules.of(op)
    scales_back = op.arguments.boolean("apply_scale", True)

    def compute(regions: Any, deltas: Any, images: Any) -> Any:
        owners, boxes = _images_and_boxes(regions, images.shape[0])
        require(
            deltas.dim() == 2 and deltas.shape[0] == boxes.shape[0] and deltas.shape[1] % 4 == 0,
            "there are not 4 deltas for each region and class",
        )
        result = torch.empty_like(deltas)
        of_image = torch.tensor(owners, dtype=torch.int64)
        for image, (height, width, factor) in enumerate(images.tolist()):
            rows = of_image == image
            # As Caffe2 does: regions are of the scaled image, its size is rounded back to the original's.
            height, width = math.floor(height / factor + 0.5), math.floor(width / factor + 0.5)
            inside = boxes[rows] / factor
            back = factor if scales_back else 1.0
            for first in range(0, deltas.shape[1], 4):
                moved = rules.moved(inside, deltas[rows, first : first + 4])
                result[rows, first : first + 4] = rules.clipped(moved, height, width) * back
        if op.output_count == 1:
            return result
        return result, torch.bincount(of_image, minlength=images.shape[0]).to(torch.float32)

    return compute


def _suppressed(rules: _BoxRules, boxes: Any, threshold: float, most: int) -> List[int]:
    """Places of the boxes that stay; they come best first. Each takes out those that overlap it too much."""
    kept: List[int] = []
    left = torch.arange(boxes.shape[0])
    while left.numel() and (most <= 0 or len(kept) < most):
        best, left = left[0], left[1:]
        kept.append(int(best))
        left = left[rules.overlaps(boxes[best], boxes[left]) <= threshold]
    return kept


@operator("GenerateProposals", inputs=(4, 4), outputs=(2, 2))
def generate_proposals(op: Operator) -> Compute:
    """Scores (N, A, H, W), deltas (N, 4 A, H, W), images (N, 3) and anchors (A, 4) to regions (R, 5).

    The second output is their scores (R,). Ren et al. (2015).
    """
    rules = _BoxRules.of(op)
    stride = 1 / op.arguments.number("spatial_scale", 1 / 16)
    most_before = op.arguments.integer("pre_nms_topN", 6000)
    most_after = op.arguments.integer("post_nms_topN", 300)
    threshold = op.arguments.number("nms_thresh", 0.7)
    least_size = op.arguments.number("min_size", 16.0)

    def of_image(scores: Any, deltas: Any, image: Sequence[float], anchors: Any) -> Tuple[Any, Any]:
        count, rows, columns = scores.shape
        y = (torch.arange(rows) * stride)[:, None].expand(rows, columns)
        x = (torch.arange(columns) * stride).expand(rows, columns)
        shifts = torch.stack([x, y, x, y], 2).reshape(-1, 1, 4)
        places = (shifts + anchors).reshape(-1, 4)
        scores = scores.permute(1, 2, 0).reshape(-1)
        deltas = deltas.reshape(count, 4, rows, columns).permute(2, 3, 0, 1).reshape(-1, 4)
        order = torch.argsort(scores, descending=True)
        if most_before > 0:
            order = order[:most_before]
        height, width, factor = image
        boxes = rules.clipped(rules.moved(places[order], deltas[order]), height, width)
        sizes = boxes[:, 2:] - boxes[:, :2] + rules.plus_one
        centres = boxes[:, :2] + sizes / 2
        is_fit = (sizes >= least_size * factor).all(1) & (centres < torch.tensor([width, height])).all(1)
        boxes, order = boxes[is_fit], order[is_fit]
        kept = _suppressed(rules, boxes, threshold, most_after)
        return boxes[kept], scores[order[kept]]

    def compute(scores: Any, deltas: Any, images: Any, anchors: Any) -> Any:
        require(
            deltas.shape[1] == 4 * scores.shape[1] and anchors.shape == (scores.shape[1], 4),
            "scores, deltas and anchors are not for the same number of anchors",
        )
        regions, probabilities = [], []
        for number, image in enumerate(images.tolist()):
            boxes, kept_scores = of_image(scores[number], deltas[number], image, anchors)
            regions.append(torch.cat([torch.full((len(boxes), 1), float(number)), boxes], 1))
            probabilities.append(kept_scores)
        return torch.cat(regions), torch.cat(probabilities)

    return compute


class _Detection(NamedTuple):
    score: float
    class_number: int
    place: int


@operator("BoxWithNMSLimit", inputs=(2, 3), outputs=(3, 6))
def limit_boxes(op: Operator) -> Compute:
    """Scores (R, classes) and boxes (R, 4 * classes), and how many of them each image has.

    Outputs: scores (K,), boxes (K, 4), classes (K,); then the number of each image (N,), the rows that were
    kept (K,), and the number of each image and class. Soft suppression: Bodla et al. (2017).
    """
    rules = _BoxRules.of(op)
    least_score = op.arguments.number("score_thresh", 0.05)
    threshold = op.arguments.number("nms", 0.3)
    most = op.arguments.integer("detections_per_im", 100)
    is_soft = op.arguments.boolean("soft_nms_enabled", False)
    method = op.arguments.text("soft_nms_method", "linear")
    sigma = op.arguments.number("soft_nms_sigma", 0.5)
    least_soft_score = op.arguments.number("soft_nms_min_score_thres", 0.001)
    has_background = op.arguments.boolean("input_boxes_include_bg_cls", True)
    tells_background = op.arguments.boolean("output_classes_include_bg_cls", True)
    is_agnostic = op.arguments.boolean("cls_agnostic_bbox_reg", False)
    require(method in ("linear", "gaussian"), "the soft_nms_method %r is unknown" % method)

    def softened(boxes: Any, scores: Any) -> List[Tuple[int, float]]:
        scores, left, kept = scores.clone(), torch.arange(len(scores)), []
        while left.numel():
            best = int(scores[left].argmax())
            chosen = left[best]
            kept.append((int(chosen), float(scores[chosen])))
            left = torch.cat([left[:best], left[best + 1 :]])
            overlap = rules.overlaps(boxes[chosen], boxes[left])
            if method == "gaussian":
                factors = torch.exp(-overlap * overlap / sigma)
            else:
                factors = torch.where(overlap > threshold, 1 - overlap, torch.ones_like(overlap))
            scores[left] *= factors
            left = left[scores[left] >= least_soft_score]
        return kept

    def of_class(scores: Any, boxes: Any, number: int) -> List[_Detection]:
        rows = torch.nonzero(scores > least_score).reshape(-1)
        rows = rows[torch.sort(scores[rows], descending=True, stable=True).indices]
        if is_soft:
            kept = softened(boxes[rows], scores[rows])
        else:
            places = _suppressed(rules, boxes[rows], threshold, 0)
            kept = [(place, float(scores[rows[place]])) for place in places]
        return [_Detection(score, number, int(rows[place])) for place, score in kept]

    def boxes_of_class(boxes: Any, number: int) -> Any:
        first = 0 if is_agnostic else 4 * (number - (0 if has_background else 1))
        return boxes[:, first : first + 4]

    def of_image(scores: Any, boxes: Any) -> List[_Detection]:
        found: List[_Detection] = []
        for number in range(1, scores.shape[1]):
            found += of_class(scores[:, number], boxes_of_class(boxes, number), number)
        if 0 < most < len(found):
            best = sorted(found, key=lambda one: -one.score)[:most]
            found = sorted(best, key=lambda one: one.class_number)
        return found

    def compute(scores: Any, boxes: Any, batch: Optional[Any] = None) -> Any:
        counts = [scores.shape[0]] if batch is None else [int(one) for one in batch.tolist()]
        classes = 1 if is_agnostic else scores.shape[1] - (0 if has_background else 1)
        require(
            boxes.shape == (scores.shape[0], 4 * classes) and scores.shape[0] == sum(counts),
            "there is not a box for each score and image",
        )
        columns: List[List[Any]] = [[], [], [], [], [], []]
        start = 0
        for count in counts:
            rows = slice(start, start + count)
            found = of_image(scores[rows], boxes[rows])
            for one in found:
                columns[0].append(one.score)
                columns[1].append(boxes_of_class(boxes[rows], one.class_number)[one.place])
                columns[2].append(float(one.class_number - (0 if tells_background else 1)))
                columns[4].append(one.place)
            columns[3].append(float(len(found)))
            columns[5].append(
                [sum(one.class_number == number for one in found) for number in range(scores.shape[1])]
            )
            start += count
        outputs = (
            torch.tensor(columns[0], dtype=torch.float32),
            torch.stack(columns[1]) if columns[1] else torch.zeros((0, 4)),
            torch.tensor(columns[2], dtype=torch.float32),
            torch.tensor(columns[3], dtype=torch.float32),
            torch.tensor(columns[4], dtype=torch.int32),
            torch.tensor(columns[5], dtype=torch.int32),
        )
        return outputs[: op.output_count]

    return compute
