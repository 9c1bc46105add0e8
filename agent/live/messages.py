"""The messages between processes: typed, and with a version.

During a deployment, processes of two versions run side by side. A process ignores a message that it
does not know or cannot read: it finds the same change in the rows a moment later. Raise `VERSION`
when the meaning of a message changes; a new field with a default needs no new version.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from agent.actor import Actor

VERSION = 1


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Growth(_Message):
    """The text that was appended to an answer since the last message, and where it begins.

    `reasoning_start` is set even without new reasoning: a process can notice that it missed some.
    """

    turn_id: UUID
    attempt: int
    ref: str
    worker: str
    seq: int
    start: int
    text: str
    reasoning_start: int = 0
    reasoning: str = ""


class SessionChanged(_Message):
    """Commits in a session, and the growth of its running answer; for all of its processes.

    Each status comes with the `seq` after which it may be sent.
    """

    type: Literal["session"] = "session"
    sender: str
    session_id: UUID
    seq: int = 0
    frames: list[dict[str, Any]] = []
    statuses: list[tuple[int, dict[str, Any]]] = []
    growth: Growth | None = None


class SessionDeleted(_Message):
    """A session was deleted; for all of its processes."""

    type: Literal["deleted"] = "deleted"
    session_id: UUID


class StopTurn(_Message):
    """A turn is cancelled; for the process that runs it."""

    type: Literal["stop"] = "stop"
    turn_id: UUID
    reason: str


class SendWholeText(_Message):
    """A process lacks a part of a running answer; for the process that runs it."""

    type: Literal["text"] = "text"
    session_id: UUID


class WhoIsConnected(_Message):
    """A question for the connections of a session; for all of its processes."""

    type: Literal["who"] = "who"
    sender: str
    session_id: UUID
    question: str


class Connected(_Message):
    """The answer of a process that has connections of the session; for the process that asked."""

    type: Literal["connected"] = "connected"
    question: str
    connections: int
    owner: Actor | None = None


class Echo(_Message):
    """A message of a process to itself: while it comes back, the way to other processes works."""

    type: Literal["echo"] = "echo"


BrokerMessage: TypeAlias = (
    SessionChanged | SessionDeleted | StopTurn | SendWholeText | WhoIsConnected | Connected | Echo
)

_ADAPTER: TypeAdapter[BrokerMessage] = TypeAdapter(
    Annotated[BrokerMessage, Field(discriminator="type")]
)


def pack(message: BrokerMessage) -> dict[str, Any]:
    """Convert a message to plain values, for the channel layer."""
    return {"version": VERSION, **message.model_dump(mode="json")}


def unpack(fields: dict[str, Any]) -> BrokerMessage | None:
    """Convert plain values to a message; None for another version or kind, or damaged values."""
    if fields.get("version") != VERSION:
        return None
    try:
        return _ADAPTER.validate_python(fields)
    except ValidationError:
        return None
