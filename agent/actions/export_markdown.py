"""Writes a session's frames as Markdown for people, for the pieces of an exported file.

Headings of the first two levels, and the quotations for errors, ratings and notifications, belong
to this module. `markdown.source` keeps the texts of users and the model from imitating them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from agent.live.hub import Frame
from agent.markdown.source import block, line
from agent.protocol.server_frames import rfc3339

_RATED = {"up": "rated the answer 👍", "down": "rated the answer 👎"}
_OURS = re.compile(
    r"Error \(|(?:info|success|warning|error) · |rated the answer|withdrew the rating"
)


def head(session: Any) -> str:
    """Return the beginning of a session's file."""
    title = line(session.title or session.preview or "Conversation")
    return f"# {title}\n\nSession {session.id}, begun {_moment(rfc3339(session.created_at))}.\n"


def written(frame: Frame) -> str:
    """Return a durable frame as Markdown, with an empty line before it."""
    return f"\n{_WRITERS[frame['type']](frame)}\n"


def _heading(who: str, frame: Frame) -> str:
    return f"## {who} · {_moment(frame['timestamp'])}"


def _query(frame: Frame) -> str:
    edited = "\n\n*(edits an earlier question)*" if frame.get("replaces") else ""
    return f"{_heading('Question', frame)}{edited}\n\n{_contained(frame['content'])}"


def _response(frame: Frame) -> str:
    who = "Staff" if frame["author"] == "staff" else "Answer"
    reason = frame["finish_reason"]
    ended = "" if reason == "stop" else f"\n\n*({reason.replace('_', ' ')})*"
    head = f"{_heading(who, frame)}{_reasoned(frame)}"
    return f"{head}\n\n{_contained(frame['content'])}{ended}{_sources(frame)}"


def _reasoned(frame: Frame) -> str:
    """Return how long the model reasoned; only the JSON file has the text of its reasoning."""
    ms = frame.get("reasoning", {}).get("ms")
    return "" if ms is None else f"\n\n*(reasoned for {ms / 1000:.1f} s)*"


def _sources(frame: Frame) -> str:
    items = [f"- {line(each['title'])} <{each['url']}>" for each in frame.get("sources", ())]
    return "\n\nSources:\n\n" + "\n".join(items) if items else ""


def _error(frame: Frame) -> str:
    partial = f"{_contained(frame['partial'])}\n\n" if frame["partial"] else ""
    head = f"{_heading('Answer', frame)}{_reasoned(frame)}"
    return f"{head}\n\n{partial}> **Error** ({frame['code']}): {line(frame['content'])}"


def _feedback(frame: Frame) -> str:
    comment = f": {line(frame['content'])}" if frame["content"] else ""
    return f"> *{_RATED.get(frame['rating'], 'withdrew the rating')}*{comment}"


def _notification(frame: Frame) -> str:
    text = "(expired)" if frame["event"] == "expired" else line(frame["content"])
    return f"> **{frame['level']}** · {_moment(frame['timestamp'])}: {text}"


_WRITERS: dict[str, Callable[[Frame], str]] = {
    "query": _query,
    "response": _response,
    "error": _error,
    "feedback": _feedback,
    "notification": _notification,
}


def _contained(text: str) -> str:
    return block(text, lambda start: _OURS.match(start) is not None)


def _moment(timestamp: str) -> str:
    return f"{timestamp[:10]} {timestamp[11:16]} UTC"
