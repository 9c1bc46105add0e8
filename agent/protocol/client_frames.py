"""The frames that clients send, as typed models, and their parsing. No I/O.

Version 1 of the wire protocol. `docs/protocol.md` describes it for the authors of clients.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from agent.errors import InvalidMessage, TooLarge, UnknownCommand, UnknownType

VERSION = 1
SUBPROTOCOL = "agent.v1"
#: The longest comment of feedback, in code points.
MAX_COMMENT_CHARS = 4000
#: Bad frames in a row after which a client counts as broken.
MAX_BAD_FRAMES = 20
#: Rate limited frames in a row after which the connection is closed.
MAX_REFUSED_FRAMES = 20


# The frames of clients. None means absent (except for `rating`); unknown fields are ignored.


class _ClientFrame(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


#: A UUID as text. Any other text is the id of nothing that exists, and no error of the frame.
TargetId = Annotated[str, Field(min_length=1, max_length=64)]
ClientId = Annotated[str, Field(min_length=1, max_length=64)]


class Query(_ClientFrame):
    type: Literal["query"]
    content: str
    id: ClientId | None = None
    priority: Annotated[
        Literal["high", "normal", "low"], BeforeValidator(lambda v: "normal" if v is None else v)
    ] = "normal"
    on_busy: Annotated[
        Literal["queue", "interrupt", "reject"],
        BeforeValidator(lambda v: "queue" if v is None else v),
    ] = "queue"
    replaces: TargetId | None = None


class HumanFeedback(_ClientFrame):
    type: Literal["human_feedback"]
    target: TargetId | None = None
    rating: Literal["up", "down"] | None
    content: str | None = None
    id: ClientId | None = None


class Ping(_ClientFrame):
    type: Literal["ping"]
    id: ClientId | None = None


class Pong(_ClientFrame):
    type: Literal["pong"]


class _Args(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Help(_Args):
    """the commands"""


class Cancel(_Args):
    """end the running turn, one `turn` or `ref`, or `all`"""

    turn: TargetId | None = None
    ref: ClientId | None = None
    all: Annotated[bool, BeforeValidator(lambda v: False if v is None else v)] = False


class History(_Args):
    """earlier messages: at most `limit` (up to 100) before the seq `before`"""

    before: Annotated[int, Field(ge=0)] | None = None
    limit: Annotated[
        int, Field(ge=1, le=100), BeforeValidator(lambda v: 50 if v is None else v)
    ] = 50


class Resume(_Args):
    """the messages after `last_seq` and the running answer once more"""

    last_seq: Annotated[int, BeforeValidator(lambda v: 0 if v is None else v)] = 0


class Clear(_Args):
    """the model forgets what came before; the transcript stays"""


class Retry(_Args):
    """a new answer to the query of `turn`"""

    turn: TargetId


class Rename(_Args):
    """give the session a `title`"""

    title: Annotated[str, Field(min_length=1, max_length=200)]


class Close(_Args):
    """cancel every turn and close the session"""


CommandArgs: TypeAlias = Help | Cancel | History | Resume | Clear | Retry | Rename | Close

COMMANDS: dict[str, type[CommandArgs]] = {
    command.__name__.lower(): command
    for command in (Help, Cancel, History, Resume, Clear, Retry, Rename, Close)
}


class Command(BaseModel):
    model_config = ConfigDict(frozen=True)

    type: Literal["command"] = "command"
    args: CommandArgs
    id: str | None = None


class _CommandFrame(_ClientFrame):
    type: Literal["command"]
    content: str
    args: dict[str, Any] | None = None
    id: ClientId | None = None


ClientFrame: TypeAlias = Query | Command | HumanFeedback | Ping | Pong

_FRAMES: dict[str, TypeAdapter[Any]] = {
    "query": TypeAdapter(Query),
    "command": TypeAdapter(_CommandFrame),
    "human_feedback": TypeAdapter(HumanFeedback),
    "ping": TypeAdapter(Ping),
    "pong": TypeAdapter(Pong),
}


_NAMES = {"query": "message", "human_feedback": "comment"}


def help_text() -> str:
    """Return the commands and their descriptions, one in a line."""
    return "\n".join(f"{name}: {args.__doc__}" for name, args in COMMANDS.items())


def frame_id(fields: dict[str, Any]) -> str | None:
    """Return the client's id of a frame if it is usable; answers have it as `ref`."""
    value = fields.get("id")
    return value if isinstance(value, str) and 1 <= len(value) <= 64 else None


def parse_client_frame(fields: dict[str, Any], *, max_query_chars: int) -> ClientFrame:
    """Build a client's frame from its JSON object (see `strict_json.parse_object`).

    Raises:
        UnknownType, UnknownCommand: with a message that lists the known ones.
        InvalidMessage: a field is missing or wrong.
        TooLarge: a query has more than `max_query_chars` code points, or a comment more than
            `MAX_COMMENT_CHARS`.
    """
    kind = fields.get("type")
    kind = "query" if kind is None else kind
    if not isinstance(kind, str):
        raise InvalidMessage("The field type must be a string.")
    if kind not in _FRAMES:
        raise UnknownType(f"Unknown message type. Known are: {', '.join(_FRAMES)}.")
    if kind == "query" and fields.get("content") in (None, ""):
        raise InvalidMessage("Message content is required")
    frame = _validate(_FRAMES[kind], {**fields, "type": kind})
    if isinstance(frame, Query | HumanFeedback):
        most = max_query_chars if isinstance(frame, Query) else MAX_COMMENT_CHARS
        if len(frame.content or "") > most:
            raise TooLarge(f"A {_NAMES[kind]} may have {most} characters; this one has more.")
    return _command(frame) if isinstance(frame, _CommandFrame) else frame


def _command(frame: _CommandFrame) -> Command:
    args = COMMANDS.get(frame.content)
    if args is None:
        raise UnknownCommand(f"Unknown command. Known are: {', '.join(COMMANDS)}.")
    return Command(args=_validate(TypeAdapter(args), frame.args or {}), id=frame.id)


def _validate(adapter: TypeAdapter[Any], fields: dict[str, Any]) -> Any:
    try:
        return adapter.validate_python(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"]) or "message"
        raise InvalidMessage(f"The field {name} is wrong: {first['msg'].lower()}.") from None
