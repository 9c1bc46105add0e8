"""A session as a file to keep: Markdown for people, JSON for programs. Pages of rows, never all."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal, TypeAlias

from . import sessions
from .frames import rfc3339
from .groups import Frame

Format: TypeAlias = Literal["md", "json"]

CONTENT_TYPES: dict[Format, str] = {
    "md": "text/markdown; charset=utf-8",
    "json": "application/json",
}


async def export(session: Any, facts: dict[str, Any], form: Format) -> AsyncIterator[str]:
    """The file in pieces; what is said while it is made may be in it or not.

    Args:
        session: its row.
        facts: what is known of it beside its messages, for JSON.
        form: of the file.
    """
    parts = _markdown(session) if form == "md" else _json(session, facts)
    async for part in parts:
        yield part


async def _json(session: Any, facts: dict[str, Any]) -> AsyncIterator[str]:
    yield f'{{"session": {_dumped(facts)},\n"frames": ['
    between = "\n"
    async for frame in _frames(session):
        yield between + _dumped(frame)
        between = ",\n"
    yield "\n]}\n"


async def _markdown(session: Any) -> AsyncIterator[str]:
    yield f"# {_line(session.title or session.preview or 'Conversation')}\n\n"
    yield f"Session {session.id}, begun {_moment(rfc3339(session.created_at))}.\n"
    async for frame in _frames(session):
        yield f"\n{_WRITERS[frame['type']](frame)}\n"


async def _frames(session: Any) -> AsyncIterator[Frame]:
    seq = 0
    while page := await sessions.frames_after(session.id, seq):
        for frame in page:
            yield frame
        seq = page[-1]["seq"]


def _heading(who: str, frame: Frame) -> str:
    return f"## {who} · {_moment(frame['timestamp'])}"


def _query(frame: Frame) -> str:
    edited = "\n\n*(edits an earlier question)*" if frame.get("replaces") else ""
    return f"{_heading('Question', frame)}{edited}\n\n{_whole(frame['content'])}"


def _response(frame: Frame) -> str:
    who = "Staff" if frame["author"] == "staff" else "Answer"
    reason = frame["finish_reason"]
    ended = "" if reason == "stop" else f"\n\n*({reason.replace('_', ' ')})*"
    return (
        f"{_heading(who, frame)}{_reasoned(frame)}\n\n{_whole(frame['content'])}"
        f"{ended}{_sources(frame)}"
    )


def _reasoned(frame: Frame) -> str:
    """How long the model reasoned; what it thought is in the JSON alone."""
    ms = frame.get("reasoning", {}).get("ms")
    return "" if ms is None else f"\n\n*(reasoned for {ms / 1000:.1f} s)*"


def _sources(frame: Frame) -> str:
    items = [f"- {_line(each['title'])} <{each['url']}>" for each in frame.get("sources", ())]
    return "\n\nSources:\n\n" + "\n".join(items) if items else ""


def _error(frame: Frame) -> str:
    head = f"{_heading('Answer', frame)}{_reasoned(frame)}\n\n"
    partial = f"{_whole(frame['partial'])}\n\n" if frame["partial"] else ""
    return f"{head}{partial}> **Error** ({frame['code']}): {_line(frame['content'])}"


def _feedback(frame: Frame) -> str:
    rated = {"up": "rated the answer 👍", "down": "rated the answer 👎"}
    comment = f": {_line(frame['content'])}" if frame["content"] else ""
    return f"> *{rated.get(frame['rating'], 'withdrew the rating')}*{comment}"


def _notification(frame: Frame) -> str:
    words = "(expired)" if frame["event"] == "expired" else _line(frame["content"])
    return f"> **{frame['level']}** · {_moment(frame['timestamp'])}: {words}"


_WRITERS: dict[str, Callable[[Frame], str]] = {
    "query": _query,
    "response": _response,
    "error": _error,
    "feedback": _feedback,
    "notification": _notification,
}


def _whole(text: str) -> str:
    """Markdown whose last block of code is closed: a stopped answer may end within one."""
    fences = sum(line.lstrip().startswith("```") for line in text.splitlines())
    return f"{text}\n```" if fences % 2 else text


def _line(text: str) -> str:
    """A text on one line, where a line break would end a heading or a quotation."""
    return " ".join(text.split())


def _moment(timestamp: str) -> str:
    return f"{timestamp[:10]} {timestamp[11:16]} UTC"


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
