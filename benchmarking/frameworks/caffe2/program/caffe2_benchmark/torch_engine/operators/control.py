"""Operators that run nets."""

from __future__ import annotations

from typing import Any, Tuple

from ..registry import ANY, BOOL, Compute, Operator, operator, require


@operator("If", inputs=(1, ANY), outputs=(0, ANY), in_place=None, takes=BOOL, shares_memory=True)
def run_if(op: Operator) -> Compute:
    """Runs ``then_net`` or ``else_net`` on the blobs of the outer net; further inputs belong to them.

    The nets write the outputs. Without an ``else_net`` they may stay unwritten.
    """
    branches = {
        branch: op.prepare_net(net)
        for branch, net in ((True, op.arguments.net("then_net")), (False, op.arguments.net("else_net")))
        if net is not None
    }
    require(True in branches, "then_net is missing")

    def compute(condition: Any, *_: Any) -> Tuple[()]:
        require(condition.numel() == 1, "the condition does not have exactly one value")
        chosen = branches.get(bool(condition))
        if chosen is not None:
            chosen()
        return ()

    return compute
