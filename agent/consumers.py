"""One WebSocket connection: bytes to frames, frames to the core, the core's errors to the client.

Translates only. What the client is sent goes through its `Feed`; turns belong to the worker. The
consumer takes no channel of the channel layer: `live` joins the session's group once per process,
so that a connection is good, and its messages cost no thread hop, whatever state the layer is in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

import structlog
from channels.consumer import get_handler_name
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from . import (
    auth,
    credentials,
    db,
    frames,
    live,
    metrics,
    protocol,
    queries,
    sessions,
    transport,
    worker,
)
from .actor import CHAT, Access
from .conf import conf
from .crowd import crowd
from .errors import (
    AgentError,
    InternalError,
    InvalidJson,
    InvalidMessage,
    NotFound,
    RateLimited,
    Restarting,
    SessionGone,
    StorageUnavailable,
    TooLarge,
    Unauthenticated,
    UnknownCommand,
    UnknownType,
)
from .feed import Feed
from .frames import Status
from .groups import Frame
from .limits import address_of, caller_of, limits
from .places import Place
from .protocol import CloseCode
from .sessions import Held, View
from .strictjson import parse_object, refuse_nul

log = structlog.get_logger(__name__)

#: Ends that wait for no client that does not read.
_AT_ONCE = (CloseCode.TOO_SLOW, CloseCode.UNAUTHENTICATED)
#: How long an end waits for the client to read what comes before it; of those above.
_CLOSE_SECONDS, _AT_ONCE_SECONDS = 30.0, 1.0
_BAD_FRAMES = (InvalidJson, InvalidMessage, UnknownType, UnknownCommand)


class AgentConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """A connection to a session."""

    channel_layer_alias = ""

    access: Access
    held: Held
    feed: Feed | None = None
    _feeding: asyncio.Task[None] | None = None
    _place: Place | None = None
    _bad_in_a_row = _refused_in_a_row = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.worker, self.limits = worker.ensure_running(), limits()
        try:
            with metrics.connections.track_inprogress():
                await super().__call__(scope, receive, send)
        finally:  # disconnect() is not called after every kind of end
            if self._feeding:
                self._feeding.cancel()
            if self._place:
                await self.limits.close(self._place)

    async def dispatch(self, message: dict[str, Any]) -> None:
        await getattr(self, get_handler_name(message))(message)

    # the connection

    async def connect(self) -> None:
        offered = self.scope.get("subprotocols", [])
        await self.accept(protocol.SUBPROTOCOL if protocol.SUBPROTOCOL in offered else None)
        options = _options(self.scope)
        try:
            if self.worker.stopping:
                raise _restarting()
            address = address_of(self.scope)
            await self.limits.connecting(address)
            self.access = await auth.authenticate(self.scope)
            auth.require(self.access, CHAT)
            self.actor = self.access.actor
            self.caller, self.address = caller_of(self.actor, address), address
            self.crowd = address if self.actor.visitor else ""
            counted = "" if crowd().is_proxy(address) else address
            self._place = await self.limits.open(self.caller, counted)
            asked_for = options.get("session", "") or _implied(self.actor)
            self.held = await sessions.open_session(self.actor, asked_for)
        except AgentError as error:
            await self._refuse(error)
            return
        except Exception as error:
            await self._refuse(_internal(error, retry_after=live.comeback_seconds()))
            return
        structlog.contextvars.bind_contextvars(session=str(self.held.id), actor=self.actor.key)
        self.feed = Feed(
            self.held,
            self.access,
            self._send_text,
            stream=options.get("stream") != "0",
            heartbeat=conf().heartbeat_interval,
        )
        self._feeding = asyncio.create_task(self._run_feed(self.feed, options, bool(asked_for)))

    async def _refuse(self, error: AgentError) -> None:
        code = int(_close_code(error))
        metrics.refusals.labels(error.code).inc()
        metrics.closes.labels(code).inc()
        await self._send_text(frames.encode(frames.Error.of(error).frame()))
        await self.close(code, error.message)

    async def _run_feed(self, feed: Feed, options: dict[str, str], resumed: bool) -> None:
        def welcome(view: View, replay_from: int) -> Frame:
            return self._welcome(view, replay_from, resumed)

        tail = _number(options["tail"]) if "tail" in options else None
        try:
            closed = await feed.run(_number(options.get("last_seq", "")), tail, welcome)
            metrics.closes.labels(int(closed.code)).inc()
            self._abort_in(_AT_ONCE_SECONDS if closed.code in _AT_ONCE else _CLOSE_SECONDS)
            await self.close(int(closed.code), closed.reason)  # daphne: no IntEnum
        except Exception as error:  # the socket is gone, or we are wrong
            log.info("connection broke off", error=type(error).__name__)
            self._abort_in(_CLOSE_SECONDS)
            with suppress(Exception):  # there may be nothing left to close
                await self.close(1011)

    def _abort_in(self, seconds: float) -> None:
        """Drop the connection then if its client has not taken the close frame."""
        asyncio.get_running_loop().call_later(seconds, transport.abort, self.base_send)

    async def _send_text(self, text: str) -> None:
        await transport.writable(self.base_send)
        await self.send(text_data=text)

    def _welcome(self, view: View, replay_from: int, resumed: bool) -> Frame:
        metrics.connects.labels(str(resumed).lower()).inc()
        settings = conf()
        new_nobody = self.actor.is_nobody and not resumed
        return frames.Notification(
            event="connected",
            content=f"Connected to {settings.agent_name}. Session ID: {self.held.id}",
            session=str(self.held.id),
            protocol=protocol.VERSION,
            resumed=resumed,
            last_seq=view.last_seq,
            replay_from=replay_from,
            agent=settings.agent_name,
            model=settings.model_name,
            demo=settings.demo,
            heartbeat=settings.heartbeat_interval,
            limits={
                "query_chars": settings.max_query_chars,
                "frame_bytes": settings.max_frame_bytes,
                "queue": settings.max_queue,
            },
            turns=view.turns,
            caller=auth.caller_name(self.actor) or None,
            resume_token=auth.resume_token(self.held.id) if new_nobody else None,
        ).frame()

    # frames of the client

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.feed is None or self.feed.ending:
            return  # refused, or sent away: what it still sends costs nothing
        fields: dict[str, Any] = {}
        try:
            self.limits.frame(self.caller)
            fields = _fields(text_data)
            refuse_nul(text_data or "", fields)
            frame = protocol.parse_client_frame(fields, max_query_chars=conf().max_query_chars)
            self._bad_in_a_row = 0
            metrics.frames_in.labels(frame.type).inc()
            await self.receive_json(frame)
            self._refused_in_a_row = 0
        except RateLimited as error:
            self._answer_error(self.feed, error, protocol.frame_id(fields or _if_any(text_data)))
        except AgentError as error:
            self._answer_error(self.feed, error, protocol.frame_id(fields))
        except Exception as error:
            self._answer_error(self.feed, _internal(error), protocol.frame_id(fields))

    async def receive_json(self, content: protocol.ClientFrame) -> None:
        """Route one frame to what does it, if its sender still may."""
        if self.access.may_end and not isinstance(content, protocol.Ping | protocol.Pong):
            await db.read(credentials.check, self.access)
        match content:
            case protocol.Query():
                await _whole(self._query(content))
            case protocol.Command():
                await self._command(content)
            case protocol.HumanFeedback():
                await self._count_write()
                await _whole(self._feedback(content))
            case protocol.Ping():
                self._tell(frames.Heartbeat(type="pong", ref=content.id))
            case protocol.Pong():
                pass

    async def _query(self, query: protocol.Query) -> None:
        await self.limits.query(self.caller, self.crowd)
        with self.worker.accepting(self.held.id, self.held.actor.key) as lease:
            accepted = await queries.accept_query(
                self.held, query, max_queue=conf().max_queue, lease=lease
            )
        received = Status(
            status="received",
            content="Received",
            ref=query.id,
            turn=accepted.turn_id,
            seq=accepted.seq,
            state=accepted.state,
        )
        self._tell(received, accepted.seq)
        self._run(accepted)

    def _run(self, accepted: queries.Accepted) -> None:
        queries.settle(self.held, accepted)
        if accepted.change is None:
            return  # it was known
        if accepted.claimed:
            self.worker.start(accepted.claimed, accepted.change.seq, self.held.actor.key)
        else:
            self.worker.want(self.held.id, self.held.actor.key)

    async def _feedback(self, feedback: protocol.HumanFeedback) -> None:
        if answer := await sessions.give_feedback(self.held, feedback):
            self._tell(answer)

    async def _count_write(self) -> None:
        await self.limits.write(self.caller, self.address, self.crowd)

    async def _command(self, command: protocol.Command) -> None:
        if isinstance(command.args, protocol.Close | protocol.Clear | protocol.Rename):
            await self._count_write()
        match command.args:
            case protocol.Help():
                self._tell(_done(command, content=protocol.help_text()))
            case protocol.History(before=before, limit=limit):
                await self._history(command, before, limit)
            case protocol.Resume(last_seq=last_seq):
                if self.feed:
                    self.feed.rewind(last_seq, _done(command).frame())
            case protocol.Retry() as args:
                await _whole(self._retry(command, args))
                return
            case protocol.Cancel() as args:
                effect = await queries.cancel(self.held, args)
                self._tell(_done(command))
                queries.settle(self.held, effect)
            case protocol.Close():
                effect = await queries.close(self.held)
                self._tell(_done(command))
                queries.settle(self.held, effect)
                return
            case protocol.Clear():
                await sessions.clear(self.held)
                self._tell(_done(command))
            case protocol.Rename(title=title):
                await sessions.rename(self.held, title)
                self._tell(_done(command))
        await sessions.touch(self.held)

    async def _history(self, command: protocol.Command, before: int | None, limit: int) -> None:
        found, has_more = await sessions.history(self.held, before, limit)
        page = frames.HistoryPage(ref=command.id, frames=found, has_more=has_more)
        if self.feed:
            self.feed.tell_page(page.frame(), sum(map(frames.size, found)))

    async def _retry(self, command: protocol.Command, args: protocol.Retry) -> None:
        await self.limits.query(self.caller, self.crowd)
        with self.worker.accepting(self.held.id, self.held.actor.key) as lease:
            accepted = await queries.retry(
                self.held, args, command.id, max_queue=conf().max_queue, lease=lease
            )
        self._tell(_done(command, turn=accepted.turn_id, state=accepted.state))
        self._run(accepted)

    # answers

    def _tell(self, frame: frames.ServerFrame, seq: int = 0) -> None:
        if self.feed:
            self.feed.tell(seq, frame.frame())

    def _answer_error(self, feed: Feed, error: AgentError, ref: str | None) -> None:
        metrics.refusals.labels(error.code).inc()
        feed.tell(0, frames.Error.of(error, ref=ref).frame())
        if isinstance(error, SessionGone):
            feed.end(CloseCode.NOT_FOUND)
        if isinstance(error, Unauthenticated):
            feed.end(CloseCode.UNAUTHENTICATED, "Access ended")
        bad = isinstance(error, _BAD_FRAMES)
        self._bad_in_a_row = self._bad_in_a_row + 1 if bad else 0
        if self._bad_in_a_row >= protocol.MAX_BAD_FRAMES:
            feed.end(CloseCode.BROKEN_CLIENT)
        limited = isinstance(error, RateLimited)
        self._refused_in_a_row = self._refused_in_a_row + 1 if limited else 0
        if self._refused_in_a_row >= protocol.MAX_REFUSED_FRAMES:
            feed.end(CloseCode.RATE_LIMITED)


async def _whole(work: Coroutine[Any, Any, None]) -> None:
    """Do all of it, also when the connection ends meanwhile; what it raises then is nobody's."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.shield(task)


def _options(scope: dict[str, Any]) -> dict[str, str]:
    """The parameters of the address; of a repeated one the last."""
    parameters = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    return {name: values[-1] for name, values in parameters.items()}


def _number(text: str) -> int:
    """A number of the address; -1, which is out of range everywhere, for what is none."""
    try:
        return int(text)
    except ValueError:
        return -1


def _implied(actor: Any) -> str:
    """The session that a resume token stands for."""
    return str(actor.session_id) if actor.session_id else ""


def _fields(text: str | None) -> dict[str, Any]:
    if text is None:
        raise InvalidJson("Send text frames; this one was binary.")
    if len(text) > conf().max_frame_bytes or len(text.encode(errors="replace")) > (
        conf().max_frame_bytes
    ):
        raise TooLarge(f"A frame may have {conf().max_frame_bytes} bytes; this one has more.")
    return parse_object(text)


def _if_any(text: str | None) -> dict[str, Any]:
    """The fields of a frame that was refused unread, for its id."""
    try:
        return _fields(text)
    except AgentError:
        return {}


def _done(command: protocol.Command, content: str = "Done", **fields: Any) -> Status:
    return Status(status="done", content=content, ref=command.id, **fields)


def _internal(error: Exception, *, retry_after: float | None = None) -> InternalError:
    if isinstance(error, db.DATABASE_ERRORS):
        unavailable = StorageUnavailable(retry_after=retry_after or live.comeback_seconds())
        log.info(
            "a frame was refused",
            incident=unavailable.incident,
            error=type(error).__name__,
            reason=db.reason(error),
        )
        return unavailable
    internal = InternalError(retry_after=retry_after)
    log.error(
        "a frame could not be handled",
        incident=internal.incident,
        error=type(error).__name__,
        exc_info=error,
    )
    return internal


def _restarting() -> Restarting:
    restarting = Restarting(retry_after=live.comeback_seconds())
    log.info("a connection was sent away", incident=restarting.incident)
    return restarting


def _close_code(error: AgentError) -> int:
    match error:
        case Unauthenticated():
            return CloseCode.UNAUTHENTICATED
        case NotFound():
            return CloseCode.NOT_FOUND
        case RateLimited():
            return CloseCode.RATE_LIMITED
        case InternalError() | Restarting():
            return CloseCode.RESTARTING
        case _:
            return CloseCode.FORBIDDEN
