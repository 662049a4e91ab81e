"""Operators that run nets."""

from __future__ import annotations

from typing import Any

from ..registry import ANY, Compute, Operator, operator, require


@operator("If", inputs=(1, ANY), outputs=(0, ANY), in_place=None, shares_memory=True)
def run_if(op: Operator) -> Compute:
    """Runs ``then_net`` or ``else_net`` on the blobs of the outer net; further inputs are theirs."""
    branches = {
        branch: op.prepare_net(net)
        for branch, net in ((True, op.arguments.net("then_net")), (False, op.arguments.net("else_net")))
        if net is not None
    }
    require(True in branches, "then_net is missing")

    def compute(condition: Any, *_: Any) -> Any:
        require(condition.numel() == 1, "the condition has not one value")
        chosen = branches.get(bool(condition))
        if chosen is not None:
            chosen()
        results = tuple(op.workspace[name] for name in op.outputs)
        return results[0] if len(results) == 1 else results

    return compute
