"""Exports a session as a file: Markdown for people, JSON for programs. Reads it page by page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Literal, TypeAlias

from agent.access import revocation
from agent.actor import Access
from agent.live.hub import Frame
from agent.models import Session
from agent.store import db, replay

from . import export_markdown

Format: TypeAlias = Literal["md", "json"]

CONTENT_TYPES: dict[Format, str] = {
    "md": "text/markdown; charset=utf-8",
    "json": "application/json",
}


class Ended(Exception):
    """The export cannot be finished: its file must be recognisable as incomplete."""


async def export(
    session: Any, facts: dict[str, Any], form: Format, access: Access
) -> AsyncIterator[str]:
    """Yield the file in pieces; messages that are written meanwhile may be in it or not.

    Args:
        session: its row.
        facts: the session's fields beside its messages, for JSON.
        form: the file's format.
        access: the access of the caller, checked again before each page.

    Raises:
        Ended: the access has ended, or the session was deleted.
    """
    write = _markdown if form == "md" else _json
    yield _beginning(session, facts, form)
    seq = 0
    while page := await db.read(_page, session, seq, access):
        yield await asyncio.to_thread(write, page, first=seq == 0)
        seq = page[-1]["seq"]
    yield "" if form == "md" else "\n]}\n"


def _page(session: Any, seq: int, access: Access) -> list[Frame]:
    """Read the next page, if the caller still has access."""
    if revocation.ended([access]):
        raise Ended("the access ended")
    page = replay.after(session.id, seq)
    has_row = not session._state.adding
    if not page and has_row and not Session.objects.filter(id=session.id).exists():
        raise Ended("the session was deleted")  # an empty page would mean the end of the session
    return page


def _beginning(session: Any, facts: dict[str, Any], form: Format) -> str:
    if form == "json":
        return f'{{"session": {_dumped(facts)},\n"frames": ['
    return export_markdown.head(session)


def _json(page: list[Frame], *, first: bool) -> str:
    return ("\n" if first else ",\n") + ",\n".join(_dumped(frame) for frame in page)


def _markdown(page: list[Frame], *, first: bool) -> str:
    return "".join(export_markdown.written(frame) for frame in page)


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
