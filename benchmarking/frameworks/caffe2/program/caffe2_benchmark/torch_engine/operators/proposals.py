"""Regions on several levels of a feature pyramid (Lin et al. 2017), in the form of detectron2's exports."""

from __future__ import annotations

from typing import Any, List, Tuple

import numpy as np
import torch

from ..registry import ANY, FLOAT, Compute, Operator, operator, require


def _levels(op: Operator, kind: str) -> range:
    """From ``<kind>_min_level`` to ``<kind>_max_level``, both included."""
    lowest = op.arguments.integer(kind + "_min_level", 2)
    highest = op.arguments.integer(kind + "_max_level", 6 if kind == "rpn" else 5)
    require(lowest <= highest, "%s_min_level is above %s_max_level" % (kind, kind))
    return range(lowest, highest + 1)


@operator("CollectRpnProposals", inputs=(2, ANY), takes=FLOAT, same_type=True)
def collect(op: Operator) -> Compute:
    """Regions (R, 5) of each level, then their scores (R,): the best of all of them, best first."""
    most = op.arguments.integer("rpn_post_nms_topN", 2000)
    count = len(_levels(op, "rpn"))
    require(op.input_count == 2 * count, "%d inputs do not fit %d levels" % (op.input_count, count))

    def compute(*inputs: Any) -> Any:
        regions, scores = torch.cat(inputs[:count]), torch.cat(inputs[count:]).reshape(-1)
        require(
            regions.dim() == 2 and len(regions) == len(scores),
            "the number of scores is not the number of regions",
        )
        _, order = torch.sort(scores, descending=True, stable=True)
        return regions[order[:most]]

    return compute


@operator("DistributeFpnProposals", outputs=(2, ANY), takes=FLOAT)
def distribute(op: Operator) -> Compute:
    """Regions (R, 5) by the level whose scale they have, and where each has gone, int32 (R,)."""
    scale = op.arguments.integer("roi_canonical_scale", 224)
    usual_level = op.arguments.integer("roi_canonical_level", 4)
    plus_one = np.float32(op.arguments.boolean("legacy_plus_one", True))
    levels = _levels(op, "roi")
    others = 1 if op.type == "DistributeFpnProposals" else 2
    require(
        op.output_count == len(levels) + others,
        "%d outputs do not fit %d levels" % (op.output_count, len(levels)),
    )

    def compute(regions: Any) -> Tuple[Any, ...]:
        require(regions.dim() == 2 and regions.shape[1] in (4, 5), "the regions have neither 4 nor 5 values")
        boxes = regions.numpy()[:, -4:]
        with np.errstate(invalid="ignore"):
            sizes = np.sqrt((boxes[:, 2:] - boxes[:, :2] + plus_one).prod(1))
        # A box without an area belongs to the lowest level.
        places = np.floor(usual_level + np.log2(np.nan_to_num(sizes) / np.float32(scale) + np.float32(1e-6)))
        places = np.clip(places, levels[0], levels[-1])
        rows = [np.flatnonzero(places == level) for level in levels]
        restore = np.argsort(np.concatenate(rows), kind="stable").astype(np.int32)
        parts: List[Any] = [regions[torch.from_numpy(one)] for one in rows]
        return (*parts, torch.from_numpy(restore))

    return compute


@operator(
    "CollectAndDistributeFpnRpnProposals", inputs=(2, ANY), outputs=(3, ANY), takes=FLOAT, same_type=True
)
def collect_and_distribute(op: Operator) -> Compute:
    """Both, one after another; the first output is the collected regions."""
    gather, spread = collect(op), distribute(op)

    def compute(*inputs: Any) -> Tuple[Any, ...]:
        regions = gather(*inputs)
        return (regions, *spread(regions))

    return compute


@operator("BatchPermutation", inputs=(2, 2), takes=FLOAT)
def permute_batch(op: Operator) -> Compute:
    """Row i is row ``indices[i]`` of the input: restores the order before the distribution."""

    def compute(x: Any, indices: Any) -> Any:
        require(indices.dtype == torch.int32, "the indices are not int32")
        require(indices.shape == x.shape[:1], "the number of indices is not the number of rows")
        require(
            indices.numel() == 0 or (int(indices.min()) >= 0 and int(indices.max()) < len(x)),
            "an index is outside 0 ... %d" % (len(x) - 1),
        )
        return x.index_select(0, indices.to(torch.int64))

    return compute
