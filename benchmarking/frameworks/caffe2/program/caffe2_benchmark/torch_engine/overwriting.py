"""Which values of a compiled part have to be results of it, because it would otherwise compute wrong ones.

torch and oneDNN group operators that follow each other, from two to the whole block of a residual net. A
value between two groups is overwritten by the group that reads it in a pointwise operator, even if others
read it later. A value that is a result of the whole part is never overwritten, and no group reaches across
it.
"""

from __future__ import annotations

from collections import Counter
from typing import Dict, List, NamedTuple, Sequence, Set, Tuple

POOLING = ("aten::max_pool2d", "aten::avg_pool2d")
_NEVER_OVERWRITING = ("aten::conv2d", "aten::linear", "aten::cat", *POOLING)


class Node(NamedTuple):
    """An operator of torch in a part."""

    kind: str
    reads: Tuple[int, ...]
    """The values that it reads; those that are not its nodes' results are inputs of the part."""
    result: int
    is_grouped: bool = False
    """Whether it is a convolution in groups: one kernel can compute it and the convolution before it."""

    @property
    def starts_kernel(self) -> bool:
        return self.kind == "aten::conv2d" and not self.is_grouped

    @property
    def overwrites(self) -> bool:
        return self.kind not in _NEVER_OVERWRITING


def to_keep(nodes: Sequence[Node]) -> Set[int]:
    """The values that have to be results of the part.

    oneDNN reads memory that does not belong to the blobs when a pooling and a sum are one group and all
    channels are outermost, so nothing is grouped with a pooling.
    """
    by_result = {node.result: node for node in nodes}
    readers = _readers(nodes)
    before = _before(nodes, by_result)
    groups = _groups(nodes, by_result, readers)
    kernels = _groups([node for node in nodes if not node.starts_kernel], by_result, readers)
    pooled = {node.result for node in nodes if node.kind in POOLING}
    kept = {value for node in nodes if node.overwrites for value in pooled.intersection(node.reads)}
    for node in (one for one in nodes if one.overwrites):
        group = groups[node.result]
        for value in set(node.reads):
            # A group that reads the value from outside contains nothing from which it is computed.
            possible = [one for one in group if one.result not in before.get(value, set()) | {value}]
            counts = Counter(name for one in possible for name in one.reads if name != value)
            # torch overwrites another input than oneDNN means if a group also reads an input twice.
            if max(counts.values(), default=0) > 1:
                kept.update({node.result}, by_result.keys() & set(node.reads))
            # Operators that are computed before, in kernels of their own, have read the value by then.
            kernel = kernels[node.result]
            others = [one for one in readers[value] if one is not node]
            if any(one in kernel or one.result not in before[node.result] for one in others):
                kept.add(value)
    return kept & by_result.keys()


def _readers(nodes: Sequence[Node]) -> Dict[int, List[Node]]:
    readers: Dict[int, List[Node]] = {}
    for node in nodes:
        for value in dict.fromkeys(node.reads):
            readers.setdefault(value, []).append(node)
    return readers


def _before(nodes: Sequence[Node], by_result: Dict[int, Node]) -> Dict[int, Set[int]]:
    """The results from which each result is computed."""
    before: Dict[int, Set[int]] = {}
    for node in nodes:
        sources = [value for value in node.reads if value in by_result]
        before[node.result] = set(sources).union(*(before[value] for value in sources))
    return before


def _groups(
    joining: Sequence[Node], by_result: Dict[int, Node], readers: Dict[int, List[Node]]
) -> Dict[int, List[Node]]:
    """The operators that could be computed together with each, by their results: more than there will be.

    ``joining``: those that can be computed together with what they read.
    """
    groups = {node.result: [node] for node in by_result.values()}
    for node in joining:
        for value in node.reads:
            if value not in by_result or len(readers[value]) > 1 or groups[value] is groups[node.result]:
                continue
            together = groups[value] + groups[node.result]
            groups.update((one.result, together) for one in together)
    return groups
