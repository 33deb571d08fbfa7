"""The three flows of an Omni-Net, and the check of their names."""

from collections.abc import Sequence

FLOWS = ("joint", "pre", "meta")
# Those with parts of their own beside the joint flow's.
PARALLEL = FLOWS[1:]


def check_flow(flow: str, owner: str, flows: Sequence[str] = FLOWS) -> str:
    """Returns `flow` after checking it.

    Args:
        flow: What the caller passed.
        owner: What to call the caller in an error.
        flows: The flows that the caller has.

    Raises:
        ValueError: If it is none of them.
    """
    if flow not in flows:
        raise ValueError(
            f"`flow` of {owner} must be one of {list(flows)}. Received: flow={flow!r}. Pass "
            f"flow={flows[0]!r} for the first of them."
        )
    return flow
