"""Maps a provider's finish reasons to ours. Pure, no I/O.

The reasons of OpenAI's API are `stop`, `length`, `content_filter`, `tool_calls` and
`function_call`. Other servers have other words, in upper or lower case. Some fill the field even
while they stream, with words that are no reason.
"""

from __future__ import annotations

import re
from enum import Enum


class Ending(Enum):
    """How an answer ended, according to its provider."""

    STOP = "stop"
    LENGTH = "length"
    FILTERED = "content_filter"
    TOOLS = "tool_calls"
    ABORTED = "aborted"
    UNKNOWN = "unknown"


_NO_REASON = {
    "",
    "null",
    "none",
    "nil",
    "undefined",
    "false",
    "unspecified",
    "finish_reason_unspecified",
    "in_progress",
    "not_finished",
    "unfinished",
    "streaming",
    "generating",
    "continue",
}
_WORDS = {
    Ending.STOP: {
        "stop",
        "stopped",
        "stop_sequence",
        "stop_token",
        "end_turn",
        "end",
        "end_of_text",
        "eos",
        "eos_token",
        "eos_found",
        "eot",
        "complete",
        "completed",
        "done",
        "finish",
        "finished",
        "success",
        "normal",
        "ok",
    },
    Ending.LENGTH: {
        "limit",
        "incomplete",
        "too_long",
        "model_context_window_exceeded",
        "context_window_exceeded",
    },
    Ending.TOOLS: {"tool_calls", "tool_call", "tool_use", "function_call", "function"},
    Ending.FILTERED: {"language"},
}
#: Parts of words, searched in this order: `malformed_function_call` is no call.
_PARTS = (
    (
        Ending.FILTERED,
        r"filter|safety|sensitive|moderat|policy|prohibit|recitation|blocklist|spii|refus"
        r"|guardrail|censor|violation",
    ),
    (
        Ending.ABORTED,
        r"error|abort|cancel|network|insufficient|resource|time_?out|timed|overload|fail"
        r"|unavailable|interrupt|disconnect|malformed|exception|crash|preempt|evict|kill|shut_?down|terminat",
    ),
    (Ending.LENGTH, r"length|max.*token|token.*(limit|max)"),
    (Ending.TOOLS, r"tool|function"),
)


def ending_of(reason: object) -> Ending | None:
    """Return how an answer ended.

    Args:
        reason: the value of `finish_reason`, of any type.

    Returns:
        the ending; None when the value is no reason, so the answer goes on.
    """
    if isinstance(reason, dict):  # {"type": "stop"}
        reason = reason.get("type") or reason.get("reason")
    if not isinstance(reason, str):
        return None
    word = re.sub(r"[^a-z0-9]+", "_", reason.strip().lower()).strip("_")
    if word in _NO_REASON:
        return None
    for ending, names in _WORDS.items():
        if word in names:
            return ending
    for ending, parts in _PARTS:
        if re.search(parts, word):
            return ending
    return Ending.UNKNOWN
