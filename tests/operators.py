"""How many operators of torch a piece of code calls: what a GPU would be told, one thing at a time."""

from torch.profiler import ProfilerActivity, profile

VIEWS = {
    *(
        "alias",
        "as_strided",
        "detach",
        "expand",
        "expand_as",
        "flatten",
        "mT",
        "narrow",
        "numpy_T",
        "permute",
        "reshape",
    ),
    *("reshape", "select", "slice", "split", "split_with_sizes", "squeeze", "t", "transpose", "unbind", "unsqueeze"),
    *("view", "view_as", "empty", "empty_like", "empty_strided", "new_empty", "lift_fresh", "detach_", "resolve_conj"),
    *("resolve_neg", "contiguous", "to", "item", "is_nonzero", "result_type"),
}
"""What computes nothing, unless it copies."""


def operators(piece):
    """The operators that a call of ``piece`` computes with, by name; those within others are not counted."""
    piece()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        piece()
    outer = [e for e in seen.events() if e.name.startswith("aten::") and not _within(e)]
    return [e.name[6:] for e in outer if e.name[6:] not in VIEWS or any("cop" in c.name for c in e.cpu_children)]


def waits(piece):
    """How often a call asks a tensor for its value, which a GPU would be waited for."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        piece()
    return sum(e.name == "aten::_local_scalar_dense" for e in seen.events())


def _within(event):
    return event.cpu_parent is not None and event.cpu_parent.name.startswith("aten::")
