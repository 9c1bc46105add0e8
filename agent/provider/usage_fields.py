"""Finds an answer's token counts and cost in the fields of different servers. Pure, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

#: Our name to a server's names, the most reliable first; a dot leads into a nested object.
_COUNTS = {
    "prompt_tokens": ("prompt_tokens", "input_tokens"),
    "completion_tokens": ("completion_tokens", "output_tokens"),
    "reasoning_tokens": (
        "completion_tokens_details.reasoning_tokens",
        "reasoning_tokens",
        "output_tokens_details.reasoning_tokens",
    ),
    "cached_tokens": (
        "prompt_tokens_details.cached_tokens",
        "input_tokens_details.cached_tokens",
        "prompt_cache_hit_tokens",
        "cache_read_input_tokens",
        "cached_tokens",
    ),
}


def usage_in(fields: Mapping[str, Any], choice: Mapping[str, Any]) -> dict[str, int | Decimal]:
    """Read the usage of a document.

    Args:
        fields: the document.
        choice: the first of its choices, or an empty one.

    Returns:
        `prompt_tokens`, `completion_tokens`, `reasoning_tokens`, `cached_tokens` and `cost`, as far
        as the document has them and they can be read.
    """
    groq = fields.get("x_groq")
    parents = (fields, choice, groq if isinstance(groq, dict) else {})
    usage = next((u for parent in parents if isinstance(u := parent.get("usage"), dict)), {})
    found: dict[str, int | Decimal] = {}
    for ours, names in _COUNTS.items():
        counts = (_count(_value(usage, name)) for name in names)
        if (count := next((c for c in counts if c is not None), None)) is not None:
            found[ours] = count
    if (cost := _cost(usage.get("cost"))) is not None:
        found["cost"] = cost
    return found


def _value(usage: Mapping[str, Any], name: str) -> object:
    outer, _, inner = name.rpartition(".")
    parent = usage.get(outer) if outer else usage
    return parent.get(inner) if isinstance(parent, dict) else None


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        return None
    return int(value) if 0 <= value < 2**31 else None


def _cost(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        cost = Decimal(str(value))
        return cost.quantize(Decimal("1e-8")) if 0 <= cost < 1_000_000 else None
    except (InvalidOperation, ValueError):  # no number, NaN, or a huge one
        return None
