"""A session as a file to keep: Markdown for people, JSON for programs. Pages of rows, never all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Literal, TypeAlias

from . import export_markdown, sessions
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
    yield export_markdown.head(session)
    async for frame in _frames(session):
        # in a thread: a text may take its parser a tenth of a second
        yield await asyncio.to_thread(export_markdown.written, frame)


async def _frames(session: Any) -> AsyncIterator[Frame]:
    seq = 0
    while page := await sessions.frames_after(session.id, seq):
        for frame in page:
            yield frame
        seq = page[-1]["seq"]


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
