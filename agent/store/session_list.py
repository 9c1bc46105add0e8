"""Lists and searches a caller's stored sessions, page by page. Reads only."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, Subquery, Value
from django.db.models.functions import Coalesce, Left

from agent.actor import Actor
from agent.errors import InvalidMessage
from agent.models import Message, Session

from . import db

#: The characters of the first query that are shown for a session without a title.
PREVIEW_CHARS = 120

_TALK = [Message.Type.QUERY, Message.Type.RESPONSE, Message.Type.ERROR]


async def page(
    actor: Actor, *, cursor: str | None, limit: int, text: str
) -> tuple[list[Any], str | None]:
    """Return a page of a caller's sessions, the one with the newest question or answer first.

    A new title, a rating and a notification leave a session where it is.

    A cursor is a position in that order and not a number of rows. So sessions that are new, or get
    a message meanwhile, come before it and push no session onto the next page.

    Args:
        actor: the caller.
        cursor: where the page before ended; None: the first page.
        limit: how many sessions at most.
        text: only sessions with this text in their title or a message; empty: all.

    Returns:
        the sessions, each with a `preview`, and the cursor of the next page if there is one.

    Raises:
        InvalidMessage: the cursor is invalid.
    """
    rows = _with_talk(Session.objects.reachable_by(actor)).order_by("-talked_at", "-id")
    if cursor:
        moment, session_id = _position(cursor)
        rows = rows.filter(Q(talked_at__lt=moment) | Q(talked_at=moment, id__lt=session_id))
    if text:
        rows = rows.filter(Q(title__icontains=text) | Exists(_containing(text)))
    read = db.search if text else db.read
    found = await read(lambda: list(with_preview(rows)[: limit + 1]))
    has_more = len(found) > limit
    return found[:limit], _cursor(found[limit - 1]) if has_more else None


async def get(session_id: UUID) -> Any:
    """Return a session with its `preview`; without a row, an unsaved one."""
    found = await db.read(with_preview(Session.objects.filter(id=session_id)).first)
    if found is None:
        found = Session(id=session_id)
        found.preview = ""  # type: ignore[attr-defined]  # as annotated
    return found


def with_preview(rows: Any) -> Any:
    """Add `preview`, the start of the first query, to sessions."""
    queries = Message.objects.filter(session=OuterRef("pk"), type=Message.Type.QUERY)
    first = queries.order_by("seq").values(text=Left("content", PREVIEW_CHARS))[:1]
    return rows.annotate(preview=Coalesce(Subquery(first), Value("")))


def _with_talk(rows: Any) -> Any:
    """Annotate sessions with the time of their newest question or answer."""
    talk = Message.objects.filter(session=OuterRef("pk"), type__in=_TALK)
    newest = talk.order_by("-seq").values("created_at")[:1]
    return rows.annotate(talked_at=Coalesce(Subquery(newest), "created_at"))


def _containing(text: str) -> Any:
    """Return messages with this text, without the notifications of the server itself."""
    rows = Message.objects.containing(text).filter(session=OuterRef("pk"))
    return rows.exclude(type=Message.Type.NOTIFICATION, connections=None)


def _cursor(session: Any) -> str:
    position = f"{session.talked_at.isoformat()} {session.id.hex}"
    return urlsafe_b64encode(position.encode()).decode().rstrip("=")


def _position(cursor: str) -> tuple[datetime, UUID]:
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        moment, _, session_id = text.partition(" ")
        position = datetime.fromisoformat(moment), UUID(session_id)
        if position[0].tzinfo == UTC:
            return position
    except ValueError:
        pass
    raise InvalidMessage("The field cursor is wrong: take it from the page before.")
