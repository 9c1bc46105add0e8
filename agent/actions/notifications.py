"""Sends notifications of API clients and commands into sessions.

Each is a durable frame, written once per session and id, and published after the commit. It is no
activity of the session's user, and does not open a closed session. The caller of this module checks
who may send one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from agent import metrics
from agent.actor import Actor
from agent.conf import conf
from agent.errors import Conflict, NotFound, TooLarge
from agent.live.hub import Presence
from agent.live.publish import Live
from agent.models import Message, Session
from agent.protocol import server_frames
from agent.store import db
from agent.store.sequence import Change

from .handles import SessionHandle, as_uuid, lock_or_create, require_room


class Notice(BaseModel):
    """A notification to be sent; None is absent."""

    model_config = ConfigDict(strict=True, frozen=True)

    content: Annotated[str, Field(min_length=1, description="the text")]
    level: Annotated[
        server_frames.Level, BeforeValidator(lambda value: "info" if value is None else value)
    ] = "info"
    id: Annotated[
        str | None,
        Field(min_length=1, max_length=64, description="yours; the same again is sent once"),
    ] = None
    ttl: Annotated[
        float | None,
        Field(
            gt=0, le=31_536_000, description="seconds after which the text is not shown any more"
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The result of sending a notification.

    Args:
        id: the sender's id, or a generated one.
        connections: how many the session had, in all processes that answered in time.
        seq: the notification's number in the session.
        repeated: whether it was sent before; the other fields are then those of the first time.
    """

    id: str
    connections: int
    seq: int
    repeated: bool = False

    @property
    def state(self) -> Literal["delivered", "stored"]:
        return "delivered" if self.connections else "stored"


async def notify(live: Live, session_id: str, notice: Notice, *, of_user: int | None) -> Receipt:
    """Send a notification into a session.

    Args:
        live: this process's.
        session_id: the id of a stored session, or of a connected one without a row: its row is then
            written now.
        notice: the notification.
        of_user: the user whose sessions may be notified; None: every user's.

    Raises:
        TooLarge: the text is longer than a query may be.
        NotFound: there is no such session, or it is another user's.
        Conflict: the notice's id was used for another text in this session.
    """
    if len(notice.content) > conf().max_query_chars:
        raise TooLarge(f"A text may have {conf().max_query_chars} characters; this one has more.")
    found = as_uuid(session_id)
    present = await live.presence(found)
    receipt, change = await db.transact(_write, live, found, notice, present, of_user)
    live.publish(change)
    metrics.notified.labels("repeated" if receipt.repeated else receipt.state).inc()
    return receipt


def _write(
    live: Live, session_id: UUID, notice: Notice, present: Presence, of_user: int | None
) -> tuple[Receipt, Change]:
    handle = _target(live, session_id, present.owner, of_user)
    numbers = lock_or_create(handle, messages=1)
    change = Change(session_id, numbers.seq)
    if notice.id and (known := _known(session_id, notice.id)):
        transaction.set_rollback(True)  # frees the number
        return _repeated(known, notice), Change(session_id)
    require_room(numbers)
    frame = server_frames.Pushed(level=notice.level, id=notice.id, content=notice.content)
    sent = Message.record(
        session_id,
        numbers.seq,
        frame,
        external_id=notice.id,
        connections=present.connections,
        expires_at=notice.ttl and timezone.now() + timedelta(seconds=notice.ttl),
    )
    change.frames.append(sent)
    return Receipt(id=sent["id"], connections=present.connections, seq=numbers.seq), change


def _target(
    live: Live, session_id: UUID, owner: Actor | None, of_user: int | None
) -> SessionHandle:
    """Find the session by its row, or without a row as a session of this owner's connections."""
    row: Any = Session.objects.filter(id=session_id).values_list("owner_id").first()
    actor = Actor(user_id=row[0]) if row else owner
    if actor is None or of_user not in (None, actor.user_id):
        raise NotFound
    return SessionHandle(live, session_id, actor, stored=row is not None)


def _known(session_id: UUID, external_id: str) -> Message | None:
    rows = Message.objects.filter(session_id=session_id, external_id=external_id)
    found: Message | None = rows.first()
    return found


def _repeated(known: Message, notice: Notice) -> Receipt:
    if known.content != notice.content:
        raise Conflict
    return Receipt(
        id=known.data["id"], connections=known.connections or 0, seq=known.seq, repeated=True
    )
