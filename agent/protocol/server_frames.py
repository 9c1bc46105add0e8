"""The frames that the server sends, as typed models. No I/O.

`docs/protocol.md` describes them for the authors of clients.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from agent.errors import AgentError


def rfc3339(moment: datetime) -> str:
    """Format a moment as the protocol does: UTC, milliseconds, Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _now() -> str:
    return rfc3339(datetime.now(UTC))


class ServerFrame(BaseModel):
    """A frame that the server sends. Fields that are None are left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str

    def frame(self) -> dict[str, Any]:
        """Return the frame as a JSON object."""
        return {k: v for k, v in self.model_dump(mode="json").items() if v is not None}


Level: TypeAlias = Literal["info", "success", "warning", "error"]


class Notification(ServerFrame):
    """One frame type on the wire, whose `event` determines its fields."""

    type: Literal["notification"] = "notification"
    event: str
    level: Level = "info"
    id: str | None = None
    content: str
    timestamp: str = Field(default_factory=_now)


class Welcome(Notification):
    """The first frame of a connection. `caller` is the name of a caller that signed in."""

    event: Literal["connected"] = "connected"
    session: UUID
    protocol: int
    resumed: bool
    last_seq: int
    replay_from: int  # the replay follows this seq
    agent: str
    model: str
    demo: bool
    heartbeat: float  # seconds
    limits: dict[str, int]
    turns: list[dict[str, Any]]  # the unfinished turns
    caller: str | None = None
    resume_token: str | None = None  # for an anonymous client's new session


class Pushed(Notification):
    """A notification that an API client or a command sent."""

    event: Literal["message"] = "message"


class Renamed(Notification):
    """The session has a new title."""

    event: Literal["renamed"] = "renamed"
    title: str

    @classmethod
    def to(cls, title: str) -> Renamed:
        return cls(title=title, content=f"Renamed to {title}")


class Cleared(Notification):
    """The model does not see the messages before this one."""

    event: Literal["cleared"] = "cleared"
    content: str = "The agent has forgotten what came before."


class Closed(Notification):
    """The session was closed, and all of its connections are closed."""

    event: Literal["closed"] = "closed"
    reason: Literal["requested", "timeout"]

    @classmethod
    def requested(cls) -> Closed:
        return cls(content="Session closed", reason="requested")

    @classmethod
    def by_timeout(cls) -> Closed:
        return cls(content="Session closed due to inactivity", reason="timeout")


class Draining(Notification):
    """This server process is draining; the client reconnects in `retry_after` seconds."""

    event: Literal["draining"] = "draining"
    level: Level = "warning"
    content: str = "The server is restarting. You will be connected again in a moment."
    retry_after: float


class Degraded(Notification):
    """Redis or the database fails for this server process, or works again (`level` success)."""

    event: Literal["degraded"] = "degraded"
    part: str

    @classmethod
    def of(cls, part: str, *, failing: bool) -> Degraded:
        if not failing:
            return cls(part=part, level="success", content="Everything works again.")
        return cls(part=part, level="warning", content=_DEGRADED[part])


_DEGRADED = {
    "redis": "Parts of this service cannot be reached; answers may arrive late.",
    "database": "Messages cannot be stored at the moment. Please wait before you send.",
}


class QueryAccepted(ServerFrame):
    """The durable frame of an accepted query."""

    type: Literal["query"] = "query"
    id: UUID
    ref: str | None
    turn: UUID
    replaces: str | None
    content: str


class Status(ServerFrame):
    type: Literal["status"] = "status"
    status: Literal["received", "queued", "thinking", "restarted", "ready", "done"]
    content: str
    ref: str | None = None
    turn: UUID | None = None
    seq: int | None = None
    state: str | None = None
    position: int | None = None
    attempt: int | None = None
    timestamp: str = Field(default_factory=_now)


def thinking(turn_id: UUID, attempt: int, ref: str) -> dict[str, Any]:
    """Return the status of a running attempt of a turn."""
    status = Status(
        status="thinking", content="Thinking...", ref=ref or None, turn=turn_id, attempt=attempt
    )
    return status.frame()


class Piece(ServerFrame):
    """A part of a growing text, from code point `first` to code point `index`."""

    turn: UUID
    attempt: int
    first: int
    index: int
    content: str
    snapshot: bool | None = None
    timestamp: str = Field(default_factory=_now)


class Delta(Piece):
    """A part of a running answer."""

    type: Literal["delta"] = "delta"


class Reasoning(Piece):
    """A part of the model's reasoning before it answers."""

    type: Literal["reasoning"] = "reasoning"


class Usage(BaseModel):
    """The tokens and the cost of a turn; None is unknown."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None


#: The types of the frames that end a turn.
TERMINAL_TYPES = ("response", "error")


class Reasoned(BaseModel):
    """Duration and tokens of the reasoning before an answer, not its text; None is unknown."""

    ms: int | None
    tokens: int | None


class Source(BaseModel):
    """A page that an answer is based on."""

    url: str
    title: str


class Response(ServerFrame):
    type: Literal["response"] = "response"
    id: UUID
    turn: UUID
    ref: str | None
    finish_reason: str  # stop, length, content_filter, cancelled, interrupted
    model: str | None
    usage: Usage
    reasoning: Reasoned | None = None  # None: the model did not reason
    sources: list[Source] | None = None
    author: Literal["agent", "staff"] = "agent"
    content: str


class Error(ServerFrame):
    """An error of the client's last frame; with `turn`, `model` and `usage`, the end of a turn."""

    type: Literal["error"] = "error"
    id: UUID | None = None
    code: str
    retryable: bool
    retry_after: float | None = None
    ref: str | None = None
    turn: UUID | None = None
    model: str | None = None
    usage: Usage | None = None
    reasoning: Reasoned | None = None
    content: str
    timestamp: str = Field(default_factory=_now)

    @classmethod
    def of(cls, error: AgentError, **fields: Any) -> Error:
        return cls(
            code=error.code,
            retryable=error.retryable,
            retry_after=error.retry_after,
            content=error.message,
            **fields,
        )


class Feedback(ServerFrame):
    """Feedback on an answer. `id` is its message's; without it, the feedback changed nothing."""

    type: Literal["feedback"] = "feedback"
    id: UUID | None = None
    target: UUID
    rating: Literal["up", "down"] | None
    ref: str | None = None
    content: str | None = None
    timestamp: str = Field(default_factory=_now)

    def frame(self) -> dict[str, Any]:
        return {**super().frame(), "rating": self.rating}


class HistoryPage(ServerFrame):
    type: Literal["history"] = "history"
    ref: str | None
    frames: list[dict[str, Any]]
    has_more: bool
    timestamp: str = Field(default_factory=_now)


class Heartbeat(ServerFrame):
    type: Literal["ping", "pong"]
    ref: str | None = None
    timestamp: str = Field(default_factory=_now)


def current(frame: dict[str, Any]) -> dict[str, Any]:
    """Return a durable frame as it is shown now: an expired notification has no text.

    This process's clock decides; `expires_at` comes from the clock of the process that wrote it.
    """
    if frame.get("expires_at", "~") > _now():  # in this format, texts sort as their moments do
        return frame
    return {**frame, "event": "expired", "content": ""}


_NO_TEXT = {
    "stop": "The answer is empty.",
    "length": "The model used up its tokens while it was thinking, and has not answered.",
    "content_filter": "The answer was withheld by a content filter.",
}


def shown_text(finish_reason: str, text: str) -> str:
    """Return the text that people read as an answer; an explanation if the model gave no text.

    A turn that was stopped before its first text needs no explanation. White space stays before the
    explanation: clients may have received it as deltas, which the final text continues.
    """
    return text if text.strip() else text + _NO_TEXT.get(finish_reason, "")


def size(frame: dict[str, Any]) -> int:
    """Return how many characters of text a durable frame contains."""
    reasoning = frame.get("reasoning") or {}
    texts = (frame["content"], frame.get("partial", ""), reasoning.get("content", ""))
    return sum(len(text) for text in texts)


def encode(frame: dict[str, Any]) -> str:
    """Encode a frame as the text that is sent."""
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":"))
