"""A caller's stored sessions: listed and searched, page by page. Reads only."""

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

#: How much of the first query stands for a session without a title.
PREVIEW_CHARS = 120

_TALK = [Message.Type.QUERY, Message.Type.RESPONSE, Message.Type.ERROR]


async def page(
    actor: Actor, *, cursor: str | None, limit: int, text: str
) -> tuple[list[Any], str | None]:
    """Sessions of a caller, the one that was talked in last first.

    A new title, a rating and a notification are no talk.

    Where a page ends is a place in that order and not a number of rows: sessions that are new or
    get a message meanwhile come before it and push nothing onto the next page.

    Args:
        actor: the caller.
        cursor: where the page before ended; None: the first page.
        limit: how many at most.
        text: only sessions with it in their title or in a message; empty: all.

    Returns:
        the sessions, each with a `preview`, and the cursor of the next page if there is one.

    Raises:
        InvalidMessage: the cursor is none of ours.
    """
    rows = _with_talk(Session.objects.reachable_by(actor)).order_by("-talked_at", "-id")
    if cursor:
        moment, session_id = _place(cursor)
        rows = rows.filter(Q(talked_at__lt=moment) | Q(talked_at=moment, id__lt=session_id))
    if text:
        rows = rows.filter(Q(title__icontains=text) | Exists(_said(text)))
    look = db.search if text else db.read
    found = await look(lambda: list(with_preview(rows)[: limit + 1]))
    more = len(found) > limit
    return found[:limit], _cursor(found[limit - 1]) if more else None


async def get(session_id: UUID) -> Any:
    """A session with its `preview`; one that has no row yet, as it would be."""
    found = await db.read(with_preview(Session.objects.filter(id=session_id)).first)
    if found is None:
        found = Session(id=session_id)
        found.preview = ""  # type: ignore[attr-defined]  # as annotated
    return found


def with_preview(rows: Any) -> Any:
    queries = Message.objects.filter(session=OuterRef("pk"), type=Message.Type.QUERY)
    first = queries.order_by("seq").values(text=Left("content", PREVIEW_CHARS))[:1]
    return rows.annotate(preview=Coalesce(Subquery(first), Value("")))


def _with_talk(rows: Any) -> Any:
    """With the time of the newest question or answer."""
    talk = Message.objects.filter(session=OuterRef("pk"), type__in=_TALK)
    newest = talk.order_by("-seq").values("created_at")[:1]
    return rows.annotate(talked_at=Coalesce(Subquery(newest), "created_at"))


def _said(text: str) -> Any:
    """Messages with this text, but for those that only the server wrote."""
    rows = Message.objects.containing(text).filter(session=OuterRef("pk"))
    return rows.exclude(type=Message.Type.NOTIFICATION, connections=None)


def _cursor(session: Any) -> str:
    place = f"{session.talked_at.isoformat()} {session.id.hex}"
    return urlsafe_b64encode(place.encode()).decode().rstrip("=")


def _place(cursor: str) -> tuple[datetime, UUID]:
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        moment, _, session_id = text.partition(" ")
        place = datetime.fromisoformat(moment), UUID(session_id)
        if place[0].tzinfo == UTC:
            return place
    except ValueError:
        pass
    raise InvalidMessage("The field cursor is wrong: take it from the page before.")
