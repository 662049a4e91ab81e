"""The operators that detection nets (Faster and Mask R-CNN) have between and after their convolutions.

Boxes are rows x1, y1, x2, y2; with ``legacy_plus_one`` (the default) x2 and y2 are the last pixel inside.
"""

from __future__ import annotations

import math
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import torch
import torch.nn.functional as functional

from ..registry import FLOAT, Compute, Operator, operator, require
from .geometry import is_channels_last

LARGEST_LOG_GROWTH = np.float32(math.log(1000 / 16))
"""Of a box's width or height by its deltas: 16 pixels, an anchor's least size, to 1000."""
ROWS_AT_ONCE = 128
"""Of a table of overlaps."""


# --- regions of interest ------------------------------------------------------------------------------------


@operator("RoIAlign", inputs=(2, 2))
def align_regions(op: Operator) -> Compute:
    """x (N, C, H, W) and regions (R, 4), or (R, 5) with the image first, to (R, C, pooled_h, pooled_w).

    Each output is the average over a grid of bilinear samples (He et al. 2017): a weighted sum of pixels, all
    channels at once.
    """
    pooled = op.arguments.integer("pooled_h", 1), op.arguments.integer("pooled_w", 1)
    factor = op.arguments.number("spatial_scale", 1.0)
    ratio = op.arguments.integer("sampling_ratio", -1)
    is_aligned = op.arguments.boolean("aligned", False)
    channels_last = is_channels_last(op.arguments)

    def compute(x: Any, regions: Any) -> Any:
        pixels = x if channels_last else x.permute(0, 2, 3, 1)
        count, height, width, channels = pixels.shape
        images, boxes = _images_and_boxes(regions, count)
        corners = boxes * np.float32(factor) - np.float32(0.5 if is_aligned else 0)
        lengths = corners[:, 2:] - corners[:, :2]
        if not is_aligned:
            lengths = np.maximum(lengths, 1)
        # Regions with as many samples in each direction are worked out together.
        samples = np.maximum(np.ceil(lengths / np.array(pooled[::-1], dtype=np.float32)), 0).astype(np.int64)
        if ratio > 0:
            samples[:] = ratio
        result = x.new_zeros((len(boxes), *pooled, channels))
        for columns, rows in np.unique(samples[(samples > 0).all(1)], axis=0):
            chosen = np.flatnonzero((samples == (columns, rows)).all(1))
            y, y_weights = _sampling(corners[chosen, 1], lengths[chosen, 1], pooled[0], height, rows)
            x_, x_weights = _sampling(corners[chosen, 0], lengths[chosen, 0], pooled[1], width, columns)
            first = images[chosen].reshape(-1, 1, 1, 1, 1) * (height * width)
            places = first + y[:, :, None, :, None] * width + x_[:, None, :, None, :]
            weights = y_weights[:, :, None, :, None] * x_weights[:, None, :, None, :]
            sums = functional.embedding_bag(
                torch.from_numpy(places.reshape(-1, places[0, 0, 0].size)),
                pixels.reshape(-1, channels),
                mode="sum",
                per_sample_weights=torch.from_numpy(weights.reshape(-1, weights[0, 0, 0].size)),
            )
            result[torch.from_numpy(chosen)] = sums.reshape(len(chosen), *pooled, channels)
        return result if channels_last else result.permute(0, 3, 1, 2).contiguous()

    return compute


def _images_and_boxes(regions: Any, count: int) -> Tuple[Any, Any]:
    """The image of each region, and its box, as arrays (R,) and (R, 4)."""
    require(
        regions.dim() == 2 and regions.shape[1] in (4, 5),
        "the rows of the regions have neither 4 nor 5 values",
    )
    array = regions.numpy()
    if array.shape[1] == 4:
        return np.zeros(len(array), dtype=np.int64), array
    images = array[:, 0].astype(np.int64)
    require(
        bool(((images >= 0) & (images < count)).all()), "a region belongs to an image that does not exist"
    )
    return images, array[:, 1:]


def _sampling(start: Any, length: Any, bins: int, size: int, samples: int) -> Tuple[Any, Any]:
    """Places that are read in one direction and their weights, each (R, bins, 2 * samples).

    They are averages of linear interpolations. A sample more than one place outside counts as 0, one within
    that place as the edge.
    """
    steps = (np.arange(samples, dtype=np.float32) + np.float32(0.5)) / np.float32(samples)
    offsets = np.arange(bins, dtype=np.float32)[:, None] + steps
    places = start[:, None, None] + offsets * (length / np.float32(bins))[:, None, None]
    is_inside = ((places >= -1) & (places <= size)).astype(np.float32) / np.float32(samples)
    places = np.clip(places, 0, size - 1)
    low = places.astype(np.int64)
    rest = (places - low).astype(np.float32)
    high = np.minimum(low + 1, size - 1)
    return (
        np.concatenate([low, high], 2),
        np.concatenate([(1 - rest) * is_inside, rest * is_inside], 2),
    )


@operator("RoIPool", inputs=(2, 2), outputs=(1, 2), takes=FLOAT, same_type=True)
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
        require(regions.dim() == 2 and regions.shape[1] == 5, "the rows of the regions do not have 5 values")
        result = x.new_zeros((regions.shape[0], x.shape[1], *pooled))
        images, boxes = _images_and_boxes(regions, x.shape[0])
        for number, (image, box) in enumerate(zip(images, (boxes * np.float32(factor)).tolist())):
            x1, y1, x2, y2 = (math.floor(one + 0.5) for one in box)
            for row, (top, bottom) in enumerate(_bins(y1, y2, pooled[0], x.shape[2])):
                for column, (left, right) in enumerate(_bins(x1, x2, pooled[1], x.shape[3])):
                    if top < bottom and left < right:
                        part = x[int(image), :, top:bottom, left:right]
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
    plus_one: Any
    """What a box is wider than x2 - x1."""

    @classmethod
    def of(cls, op: Operator) -> _BoxRules:
        require(not op.arguments.boolean("rotated", False), "rotated boxes are not supported")
        weights = tuple(op.arguments.numbers("weights") or (1.0, 1.0, 1.0, 1.0))
        require(len(weights) == 4, "the number of weights is not 4")
        return cls(weights, np.float32(op.arguments.boolean("legacy_plus_one", True)))

    def moved(self, boxes: Any, deltas: Any) -> Any:
        """Boxes (..., 4) moved by deltas (..., 4): centre by shares of the size, size by logarithms."""
        sizes = boxes[..., 2:] - boxes[..., :2] + self.plus_one
        centres = boxes[..., :2] + np.float32(0.5) * sizes
        deltas = deltas / np.array(self.weights, dtype=np.float32)
        centres = deltas[..., :2] * sizes + centres
        halves = np.float32(0.5) * np.exp(np.minimum(deltas[..., 2:], LARGEST_LOG_GROWTH)) * sizes
        return np.concatenate([centres - halves, centres + halves - self.plus_one], -1)

    def clipped(self, boxes: Any, height: float, width: float) -> Any:
        limits = np.array([width, height, width, height], dtype=np.float32) - self.plus_one
        return np.maximum(np.minimum(boxes, limits), 0)

    def areas(self, boxes: Any) -> Any:
        return (boxes[..., 2:] - boxes[..., :2] + self.plus_one).prod(-1)

    def overlaps(self, some: Any, others: Any) -> Any:
        """Intersection over union of each of (A, 4) with each of (B, 4): (A, B)."""
        low = np.maximum(some[:, None, :2], others[None, :, :2])
        high = np.minimum(some[:, None, 2:], others[None, :, 2:])
        common = np.maximum(high - low + self.plus_one, 0).prod(-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return common / (self.areas(some)[:, None] + self.areas(others) - common)

    def suppressed(self, boxes: Any, threshold: float, most: int) -> List[int]:
        """Places of the boxes, best first, that no kept one before overlaps too much; at most ``most``."""
        kept: List[int] = []
        is_out = np.zeros(len(boxes), dtype=bool)
        for first in range(0, len(boxes), ROWS_AT_ONCE):
            # The overlap of two boxes without an area is NaN, which is not below the threshold.
            takes_out = ~(self.overlaps(boxes[first : first + ROWS_AT_ONCE], boxes[first:]) <= threshold)
            for number, row in enumerate(takes_out, start=first):
                if is_out[number]:
                    continue
                kept.append(number)
                if len(kept) == most:
                    return kept
                is_out[first:] |= row
        return kept


@operator("BBoxTransform", inputs=(3, 3), outputs=(1, 2), takes=FLOAT, same_type=True)
def transform_boxes(op: Operator) -> Compute:
    """Regions (R, 4 or 5), deltas (R, 4 * classes), images (N, 3: height, width, scale) to boxes as deltas.

    The second output is how many boxes each image has.
    """
    rules = _BoxRules.of(op)
    scales_back = op.arguments.boolean("apply_scale", True)

    def compute(regions: Any, deltas: Any, images: Any) -> Any:
        owners, boxes = _images_and_boxes(regions, images.shape[0])
        require(
            deltas.dim() == 2 and deltas.shape[0] == len(boxes) and deltas.shape[1] % 4 == 0,
            "the number of deltas is not 4 for each region and class",
        )
        by_class = deltas.numpy().reshape(len(boxes), deltas.shape[1] // 4, 4)
        result = np.empty_like(by_class)
        for image, (height, width, factor) in enumerate(images.tolist()):
            rows = owners == image
            # Regions are of the scaled image; the original's size is found by rounding.
            height, width = math.floor(height / factor + 0.5), math.floor(width / factor + 0.5)
            moved = rules.moved(boxes[rows][:, None] / np.float32(factor), by_class[rows])
            result[rows] = rules.clipped(moved, height, width) * np.float32(factor if scales_back else 1)
        transformed = torch.from_numpy(result.reshape(deltas.shape))
        if op.output_count == 1:
            return transformed
        counts = np.bincount(owners, minlength=images.shape[0]).astype(np.float32)
        return transformed, torch.from_numpy(counts)

    return compute


@operator("GenerateProposals", inputs=(4, 4), outputs=(2, 2), takes=FLOAT, same_type=True)
def generate_proposals(op: Operator) -> Compute:
    """Scores (N, A, H, W), deltas (N, 4 A, H, W), images (N, 3) and anchors (A, 4) to regions (R, 5).

    The second output is their scores (R,). Ren et al. (2015).
    """
    rules = _BoxRules.of(op)
    stride = np.float32(1 / op.arguments.number("spatial_scale", 1 / 16))
    most_before = op.arguments.integer("pre_nms_topN", 6000)
    most_after = op.arguments.integer("post_nms_topN", 300)
    threshold = op.arguments.number("nms_thresh", 0.7)
    least_size = op.arguments.number("min_size", 16.0)

    def of_image(scores: Any, deltas: Any, image: Sequence[float], anchors: Any) -> Tuple[Any, Any]:
        count, rows, columns = scores.shape
        y, x = np.meshgrid(np.arange(rows) * stride, np.arange(columns) * stride, indexing="ij")
        shifts = np.stack([x, y, x, y], 2).astype(np.float32).reshape(-1, 1, 4)
        places = (shifts + anchors).reshape(-1, 4)
        scores = scores.transpose(1, 2, 0).reshape(-1)
        deltas = deltas.reshape(count, 4, rows, columns).transpose(2, 3, 0, 1).reshape(-1, 4)
        order = np.argsort(-scores, kind="stable")
        if most_before > 0:
            order = order[:most_before]
        height, width, factor = image
        boxes = rules.clipped(rules.moved(places[order], deltas[order]), height, width)
        sizes = boxes[:, 2:] - boxes[:, :2] + rules.plus_one
        centres = boxes[:, :2] + sizes / 2
        is_fit = (sizes >= least_size * factor).all(1) & (
            centres < np.array([width, height], dtype=np.float32)
        ).all(1)
        boxes, order = boxes[is_fit], order[is_fit]
        kept = rules.suppressed(boxes, threshold, most_after)
        return boxes[kept], scores[order[kept]]

    def compute(scores: Any, deltas: Any, images: Any, anchors: Any) -> Any:
        require(
            scores.dim() == 4
            and deltas.shape == (scores.shape[0], 4 * scores.shape[1], *scores.shape[2:])
            and anchors.shape == (scores.shape[1], 4),
            "scores, deltas and anchors do not have the same anchors, images and positions",
        )
        require(images.shape == (scores.shape[0], 3), "the number of values is not 3 for each image")
        regions, probabilities = [], []
        for number, image in enumerate(images.tolist()):
            arrays = scores[number].numpy(), deltas[number].numpy()
            boxes, kept_scores = of_image(*arrays, image, anchors.numpy())
            regions.append(np.insert(boxes, 0, number, axis=1))
            probabilities.append(kept_scores)
        return (
            torch.from_numpy(np.concatenate(regions).astype(np.float32)),
            torch.from_numpy(np.concatenate(probabilities)),
        )

    return compute


class _Detection(NamedTuple):
    score: float
    class_number: int
    place: int
    """Its row among the image's."""


@operator("BoxWithNMSLimit", inputs=(2, 3), outputs=(3, 6))
def limit_boxes(op: Operator) -> Compute:
    """Scores (R, classes) and boxes (R, 4 * classes), and how many of them each image has.

    Outputs: scores (K,), boxes (K, 4), classes (K,); then the number of each image (N,), the rows that were
    kept (K,), and the numbers of each image and class (N, classes). Soft suppression: Bodla et al. (2017).
    """
    rules = _BoxRules.of(op)
    least_score = op.arguments.number("score_thresh", 0.05)
    threshold = op.arguments.number("nms", 0.3)
    most = op.arguments.integer("detections_per_im", 100)
    # Class 0 is the background. Without boxes for it the scores come from the first column on, too.
    first_column = 0 if op.arguments.boolean("input_boxes_include_bg_cls", True) else 1
    is_soft = op.arguments.boolean("soft_nms_enabled", False)
    method = op.arguments.text("soft_nms_method", "linear")
    sigma = op.arguments.number("soft_nms_sigma", 0.5)
    least_soft_score = op.arguments.number("soft_nms_min_score_thres", 0.001)
    tells_background = op.arguments.boolean("output_classes_include_bg_cls", True)
    is_agnostic = op.arguments.boolean("cls_agnostic_bbox_reg", False)
    require(op.output_count != 5, "it has 5 outputs, not 3, 4 or 6")
    require(method in ("linear", "gaussian"), "the soft_nms_method %r is unknown" % method)

    def softened(boxes: Any, scores: Any) -> List[Tuple[int, float]]:
        scores, left = scores.copy(), np.arange(len(scores))
        kept: List[Tuple[int, float]] = []
        overlaps = rules.overlaps(boxes, boxes)
        while left.size:
            best = int(scores[left].argmax())
            chosen = int(left[best])
            kept.append((chosen, float(scores[chosen])))
            left = np.delete(left, best)
            overlap = overlaps[chosen, left]
            if method == "gaussian":
                scores[left] *= np.exp(-overlap * overlap / np.float32(sigma))
            else:
                scores[left] *= np.where(overlap > threshold, 1 - overlap, 1)
            left = left[scores[left] >= least_soft_score]
        return kept

    def of_class(scores: Any, boxes: Any, number: int) -> List[_Detection]:
        rows = np.flatnonzero(scores > least_score)
        rows = rows[np.argsort(-scores[rows], kind="stable")]
        if is_soft:
            kept = softened(boxes[rows], scores[rows])
        else:
            places = rules.suppressed(boxes[rows], threshold, 0)
            kept = [(place, float(scores[rows[place]])) for place in places]
        return [_Detection(score, number, int(rows[place])) for place, score in kept]

    def boxes_of_class(boxes: Any, number: int) -> Any:
        first = 0 if is_agnostic else 4 * (number - first_column)
        return boxes[:, first : first + 4]

    def of_image(scores: Any, boxes: Any) -> List[_Detection]:
        found: List[_Detection] = []
        for number in range(1, scores.shape[1]):
            found += of_class(scores[:, number - first_column], boxes_of_class(boxes, number), number)
        if 0 < most < len(found):
            best = sorted(found, key=lambda one: -one.score)[:most]
            found = sorted(best, key=lambda one: one.class_number)
        return found

    def compute(scores: Any, boxes: Any, batch: Optional[Any] = None) -> Any:
        scores, boxes = scores.numpy(), boxes.numpy()
        counts = [len(scores)] if batch is None else [int(one) for one in batch.tolist()]
        classes = scores.shape[1]
        columns = 4 * (1 if is_agnostic else classes - first_column)
        require(
            boxes.shape == (len(scores), columns) and len(scores) == sum(counts),
            "the number of boxes does not match the scores and images",
        )
        ends = np.cumsum(counts)
        images = [slice(end - count, end) for end, count in zip(ends, counts)]
        found = [of_image(scores[rows], boxes[rows]) for rows in images]
        kept_boxes = [
            boxes_of_class(boxes[rows], one.class_number)[one.place]
            for rows, detections in zip(images, found)
            for one in detections
        ]
        together = [one for detections in found for one in detections]
        first_class = 0 if tells_background else 1
        per_class = [np.bincount([one.class_number for one in some], minlength=classes) for some in found]
        outputs = (
            np.array([one.score for one in together], dtype=np.float32),
            np.array(kept_boxes, dtype=np.float32).reshape(-1, 4),
            np.array([one.class_number - first_class for one in together], dtype=np.float32),
            np.array([len(detections) for detections in found], dtype=np.float32),
            np.array([one.place for one in together], dtype=np.int32),
            np.array(per_class, dtype=np.int32),
        )
        return tuple(map(torch.from_numpy, outputs[: op.output_count]))

    return compute
