"""The facts of a turn as texts for staff. Reads a loaded row, never the database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from agent.models import Turn

#: A fact that does not exist (yet), unlike one that the provider did not report.
NONE, UNKNOWN = "-", "unknown"


def facts(turn: Turn) -> Iterator[tuple[str, str]]:
    """The facts that a turn has, as pairs of a label and its value, in the order of reading."""
    yield "State", turn.state
    yield "Attempts", str(turn.attempt)
    spans = (waited, first_token, reasoning, duration)
    for fact in (outcome, provider_status, model, tokens, cached_tokens, cost, *spans):
        if (value := fact(turn)) != NONE:
            yield fact.__name__.replace("_", " ").capitalize(), value


def outcome(turn: Turn) -> str:
    """How it ended: its error code or finish reason."""
    return turn.error_code or turn.finish_reason or NONE


def provider_status(turn: Turn) -> str:
    """The HTTP status of the provider's error."""
    return NONE if turn.provider_status is None else str(turn.provider_status)


def model(turn: Turn) -> str:
    return turn.model or _missing(turn)


def tokens(turn: Turn) -> str:
    if turn.prompt_tokens is None and turn.completion_tokens is None:
        return _missing(turn)
    return in_and_out(turn.prompt_tokens, turn.completion_tokens)


def cached_tokens(turn: Turn) -> str:
    """Tokens of the prompt that the provider had in its cache."""
    return NONE if turn.cached_tokens is None else _count(turn.cached_tokens)


def cost(turn: Turn) -> str:
    return _missing(turn) if turn.cost is None else amount(turn.cost)


def waited(turn: Turn) -> str:
    """From the question to the first start."""
    return _between(turn.created_at, turn.started_at)


def first_token(turn: Turn) -> str:
    """From asking the model to its first token, be it of reasoning, in the last attempt."""
    return NONE if turn.first_token_ms is None else seconds(turn.first_token_ms / 1000)


def reasoning(turn: Turn) -> str:
    """How long the model reasoned before its first text, and the tokens that this took."""
    if turn.reasoning_ms is None and not turn.reasoning_tokens:
        return NONE
    span = UNKNOWN if turn.reasoning_ms is None else seconds(turn.reasoning_ms / 1000)
    return f"{span}, {_count(turn.reasoning_tokens)} tokens"


def duration(turn: Turn) -> str:
    """From the first start to the end."""
    return _between(turn.started_at, turn.ended_at)


def in_and_out(prompt: int | None, completion: int | None) -> str:
    """Tokens of the prompt and of the answer."""
    return f"{_count(prompt)} in, {_count(completion)} out"


def amount(value: Decimal) -> str:
    """A cost in the provider's currency, without trailing zeros."""
    plain = f"{value:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def total(known: Decimal | None, unknown: int) -> str:
    """A sum of costs, and how many turns it lacks."""
    if known is None:
        return UNKNOWN if unknown else NONE
    return f"{amount(known)} + {unknown} unknown" if unknown else amount(known)


def seconds(value: float) -> str:
    """A span of time, less exact the longer it is."""
    if value < 0.9995:
        return f"{round(value * 1000)} ms"
    if value < 59.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _missing(turn: Turn) -> str:
    ran = turn.state == Turn.State.ENDED and turn.attempt
    return UNKNOWN if ran else NONE


def _count(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


def _between(start: datetime | None, end: datetime | None) -> str:
    if start is None or end is None:
        return NONE
    return seconds(max((end - start).total_seconds(), 0))
