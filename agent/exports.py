"""A session as a file to keep: Markdown for people, JSON for programs. Pages of rows, never all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal, TypeAlias

from . import credentials, db, pages
from .actor import Access
from .frames import rfc3339
from .groups import Frame
from .models import Session

Format: TypeAlias = Literal["md", "json"]

CONTENT_TYPES: dict[Format, str] = {
    "md": "text/markdown; charset=utf-8",
    "json": "application/json",
}


class Ended(Exception):
    """The export is not to be finished: what was sent of it must not pass for all of it."""


async def export(
    session: Any, facts: dict[str, Any], form: Format, access: Access
) -> AsyncIterator[str]:
    """The file in pieces; what is said while it is made may be in it or not.

    Args:
        session: its row.
        facts: what is known of it beside its messages, for JSON.
        form: of the file.
        access: by what it was asked for; looked at again before each page.

    Raises:
        Ended: that access has ended, or the session was deleted.
    """
    write = _markdown if form == "md" else _json
    yield _beginning(session, facts, form)
    seq = 0
    while page := await db.read(_page, session, seq, access):
        yield await asyncio.to_thread(write, page, first=seq == 0)
        seq = page[-1]["seq"]
    yield "" if form == "md" else "\n]}\n"


def _page(session: Any, seq: int, access: Access) -> list[Frame]:
    """The next page, if the caller still may have it."""
    if credentials.ended([access]):
        raise Ended("the access ended")
    page = pages.after(session.id, seq)
    has_row = not session._state.adding
    if not page and has_row and not Session.objects.filter(id=session.id).exists():
        raise Ended("the session was deleted")  # and not: this is the end of it
    return page


def _beginning(session: Any, facts: dict[str, Any], form: Format) -> str:
    if form == "json":
        return f'{{"session": {_dumped(facts)},\n"frames": ['
    title = _line(session.title or session.preview or "Conversation")
    begun = _moment(rfc3339(session.created_at))
    return f"# {title}\n\nSession {session.id}, begun {begun}.\n"


def _json(page: list[Frame], *, first: bool) -> str:
    return ("\n" if first else ",\n") + ",\n".join(_dumped(frame) for frame in page)


def _markdown(page: list[Frame], *, first: bool) -> str:
    return "".join(f"\n{_WRITERS[frame['type']](frame)}\n" for frame in page)


def _heading(who: str, frame: Frame) -> str:
    return f"## {who} · {_moment(frame['timestamp'])}"


def _query(frame: Frame) -> str:
    edited = "\n\n*(edits an earlier question)*" if frame.get("replaces") else ""
    return f"{_heading('Question', frame)}{edited}\n\n{_whole(frame['content'])}"


def _response(frame: Frame) -> str:
    who = "Staff" if frame["author"] == "staff" else "Answer"
    reason = frame["finish_reason"]
    ended = "" if reason == "stop" else f"\n\n*({reason.replace('_', ' ')})*"
    return f"{_heading(who, frame)}\n\n{_whole(frame['content'])}{ended}"


def _error(frame: Frame) -> str:
    partial = f"{_whole(frame['partial'])}\n\n" if frame["partial"] else ""
    return f"{_heading('Answer', frame)}\n\n{partial}> **Error** ({frame['code']}): " + _line(
        frame["content"]
    )


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
