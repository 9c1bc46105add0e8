"""One WebSocket connection: parses frames, routes them to actions, and answers with errors.

It only translates. Every frame to the client goes through its `Writer`; turns belong to the worker.
The consumer uses no channel of the channel layer: the broker joins the session's group once per
process. So a connection works even when the layer fails, and its messages cost no thread hop.
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

from . import metrics
from .access import authentication, revocation
from .access.connection_slots import Slot
from .access.limits import address_of, caller_of
from .actions import handles, queries, sessions
from .actions.handles import SessionHandle
from .actions.incidents import incident_of
from .actor import CHAT, Access
from .conf import conf
from .connection import transport
from .connection.writer import Writer
from .errors import (
    AgentError,
    InternalError,
    InvalidJson,
    InvalidMessage,
    NotFound,
    RateLimited,
    Restarting,
    SessionGone,
    TooLarge,
    Unauthenticated,
    UnknownCommand,
    UnknownType,
)
from .live.hub import Frame
from .live.publish import comeback_seconds
from .protocol import client_frames, server_frames
from .protocol.close_codes import CloseCode
from .protocol.server_frames import Status
from .protocol.strict_json import parse_object, refuse_nul
from .store import db
from .store.replay import SessionSnapshot
from .worker import runtime

log = structlog.get_logger(__name__)

#: Closes that do not wait for a client that does not read.
_AT_ONCE = (CloseCode.TOO_SLOW, CloseCode.UNAUTHENTICATED)
#: How long a close waits for the client to read the frames before it; the same for `_AT_ONCE`.
_CLOSE_SECONDS, _AT_ONCE_SECONDS = 30.0, 1.0
_BAD_FRAMES = (InvalidJson, InvalidMessage, UnknownType, UnknownCommand)


class AgentConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """A connection to a session."""

    channel_layer_alias = ""

    access: Access
    handle: SessionHandle
    writer: Writer | None = None
    _writing: asyncio.Task[None] | None = None
    _slot: Slot | None = None
    _bad_in_a_row = _refused_in_a_row = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.runtime = runtime.current()
        self.worker, self.limits = self.runtime.worker, self.runtime.limits
        try:
            with metrics.connections.track_inprogress():
                await super().__call__(scope, receive, send)
        finally:  # Channels does not always call disconnect()
            if self._writing:
                self._writing.cancel()
            if self._slot:
                await self.limits.close(self._slot)

    async def dispatch(self, message: dict[str, Any]) -> None:
        await getattr(self, get_handler_name(message))(message)

    # the connection

    async def connect(self) -> None:
        offered = self.scope.get("subprotocols", [])
        await self.accept(
            client_frames.SUBPROTOCOL if client_frames.SUBPROTOCOL in offered else None
        )
        options = _options(self.scope)
        try:
            if self.runtime.draining:
                raise _restarting()
            address = address_of(self.scope)
            await self.limits.connecting(address)
            self.access = await authentication.authenticate(self.scope)
            authentication.require(self.access, CHAT)
            self.actor = self.access.actor
            self.caller, self.address = caller_of(self.actor, address), address
            self.shared_bucket = address if self.actor.visitor else ""
            counted = "" if self.runtime.addresses.is_proxy(address) else address
            self._slot = await self.limits.open(self.caller, counted)
            asked_for = options.get("session", "") or _implied(self.actor)
            self.handle = await handles.open_session(self.runtime.live, self.actor, asked_for)
        except AgentError as error:
            await self._refuse(error)
            return
        except Exception as error:
            await self._refuse(
                incident_of(error, subject="a frame", retry_after=comeback_seconds())
            )
            return
        structlog.contextvars.bind_contextvars(session=str(self.handle.id), actor=self.actor.key)
        self.writer = Writer(
            self.handle,
            self.access,
            self._send_text,
            stream=options.get("stream") != "0",
            heartbeat=conf().heartbeat_interval,
        )
        self._writing = asyncio.create_task(self._run_writer(self.writer, options, bool(asked_for)))

    async def _refuse(self, error: AgentError) -> None:
        code = int(_close_code(error))
        metrics.refusals.labels(error.code).inc()
        metrics.closes.labels(code).inc()
        await self._send_text(server_frames.encode(server_frames.Error.of(error).frame()))
        await self.close(code, error.message)

    async def _run_writer(self, writer: Writer, options: dict[str, str], resumed: bool) -> None:
        def welcome(snapshot: SessionSnapshot, replay_from: int) -> Frame:
            return self._welcome(snapshot, replay_from, resumed)

        tail = _number(options["tail"]) if "tail" in options else None
        try:
            closed = await writer.run(_number(options.get("last_seq", "")), tail, welcome)
            metrics.closes.labels(int(closed.code)).inc()
            self._abort_in(_AT_ONCE_SECONDS if closed.code in _AT_ONCE else _CLOSE_SECONDS)
            await self.close(int(closed.code), closed.reason)  # daphne: no IntEnum
        except Exception as error:  # the socket broke, or there is a bug
            log.info("connection broke off", error=type(error).__name__)
            self._abort_in(_CLOSE_SECONDS)
            with suppress(Exception):  # the socket may be closed already
                await self.close(1011)

    def _abort_in(self, seconds: float) -> None:
        """Drop the connection after `seconds`, if its client has not read the close frame."""
        asyncio.get_running_loop().call_later(seconds, transport.abort, self.base_send)

    async def _send_text(self, text: str) -> None:
        await transport.writable(self.base_send)
        await self.send(text_data=text)

    def _welcome(self, snapshot: SessionSnapshot, replay_from: int, resumed: bool) -> Frame:
        metrics.connects.labels(str(resumed).lower()).inc()
        settings = conf()
        new_anonymous = self.actor.is_anonymous and not resumed
        return server_frames.Welcome(
            content=f"Connected to {settings.agent_name}. Session ID: {self.handle.id}",
            session=self.handle.id,
            protocol=client_frames.VERSION,
            resumed=resumed,
            last_seq=snapshot.last_seq,
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
            turns=snapshot.turns,
            caller=authentication.caller_name(self.actor) or None,
            resume_token=authentication.resume_token(self.handle.id) if new_anonymous else None,
        ).frame()

    # frames of the client

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.writer is None or self.writer.ending:
            return  # the connection is refused or closing: further frames are not parsed
        fields: dict[str, Any] = {}
        try:
            self.limits.frame(self.caller)
            fields = _fields(text_data)
            refuse_nul(text_data or "", fields)
            frame = client_frames.parse_client_frame(fields, max_query_chars=conf().max_query_chars)
            self._bad_in_a_row = 0
            metrics.frames_in.labels(frame.type).inc()
            await self.receive_json(frame)
            self._refused_in_a_row = 0
        except RateLimited as error:
            self._answer_error(
                self.writer, error, client_frames.frame_id(fields or _if_any(text_data))
            )
        except AgentError as error:
            self._answer_error(self.writer, error, client_frames.frame_id(fields))
        except Exception as error:
            self._answer_error(
                self.writer, incident_of(error, subject="a frame"), client_frames.frame_id(fields)
            )

    async def receive_json(self, content: client_frames.ClientFrame) -> None:
        """Route one frame to its action, if its sender's access has not ended."""
        if self.access.revocable and not isinstance(
            content, client_frames.Ping | client_frames.Pong
        ):
            await db.read(revocation.check, self.access)
        match content:
            case client_frames.Query():
                await _finish_despite_disconnect(self._query(content))
            case client_frames.Command():
                await self._command(content)
            case client_frames.HumanFeedback():
                await self._count_write()
                await _finish_despite_disconnect(self._feedback(content))
            case client_frames.Ping():
                self._reply(server_frames.Heartbeat(type="pong", ref=content.id))
            case client_frames.Pong():
                pass

    async def _query(self, query: client_frames.Query) -> None:
        await self.limits.query(self.caller, self.shared_bucket)
        with self.worker.accepting(self.handle.id, self.handle.actor.key) as lease:
            accepted = await queries.accept_query(
                self.handle, query, max_queue=conf().max_queue, lease=lease
            )
        received = Status(
            status="received",
            content="Received",
            ref=query.id,
            turn=accepted.turn_id,
            seq=accepted.seq,
            state=accepted.state,
        )
        self._reply(received, accepted.seq)
        self._run(accepted)

    def _run(self, accepted: queries.Accepted) -> None:
        if accepted.change is None:
            return  # the query was known already
        self.runtime.live.publish(accepted.change)
        if accepted.claimed:
            self.worker.start(accepted.claimed, accepted.change.seq, self.handle.actor.key)
        else:
            self.worker.request_turn(self.handle.id, self.handle.actor.key)

    async def _feedback(self, feedback: client_frames.HumanFeedback) -> None:
        if answer := await sessions.give_feedback(self.handle, feedback):
            self._reply(answer)

    async def _count_write(self) -> None:
        await self.limits.write(self.caller, self.address, self.shared_bucket)

    async def _command(self, command: client_frames.Command) -> None:
        if isinstance(
            command.args, client_frames.Close | client_frames.Clear | client_frames.Rename
        ):
            await self._count_write()
        match command.args:
            case client_frames.Help():
                self._reply(_done(command, content=client_frames.help_text()))
            case client_frames.History(before=before, limit=limit):
                await self._history(command, before, limit)
            case client_frames.Resume(last_seq=last_seq):
                if self.writer:
                    self.writer.rewind(last_seq, _done(command).frame())
            case client_frames.Retry() as args:
                await _finish_despite_disconnect(self._retry(command, args))
                return
            case client_frames.Cancel() as args:
                change = await queries.cancel(self.handle, args)
                self._reply(_done(command))
                self.runtime.live.publish(change)
            case client_frames.Close():
                change = await queries.close(self.handle)
                self._reply(_done(command))
                self.runtime.live.publish(change)
                return
            case client_frames.Clear():
                await sessions.clear(self.handle)
                self._reply(_done(command))
            case client_frames.Rename(title=title):
                await sessions.rename(self.handle, title)
                self._reply(_done(command))
        await handles.mark_active(self.handle)

    async def _history(
        self, command: client_frames.Command, before: int | None, limit: int
    ) -> None:
        found, has_more = await sessions.history(self.handle, before, limit)
        page = server_frames.HistoryPage(ref=command.id, frames=found, has_more=has_more)
        if self.writer:
            size = sum(map(server_frames.size, found))
            self.writer.send_later(page.frame(), size=size)

    async def _retry(self, command: client_frames.Command, args: client_frames.Retry) -> None:
        await self.limits.query(self.caller, self.shared_bucket)
        with self.worker.accepting(self.handle.id, self.handle.actor.key) as lease:
            accepted = await queries.retry(
                self.handle, args, command.id, max_queue=conf().max_queue, lease=lease
            )
        self._reply(_done(command, turn=accepted.turn_id, state=accepted.state))
        self._run(accepted)

    # answers

    def _reply(self, frame: server_frames.ServerFrame, after_seq: int = 0) -> None:
        if self.writer:
            self.writer.send_later(frame.frame(), after_seq)

    def _answer_error(self, writer: Writer, error: AgentError, ref: str | None) -> None:
        metrics.refusals.labels(error.code).inc()
        writer.send_later(server_frames.Error.of(error, ref=ref).frame())
        if isinstance(error, SessionGone):
            writer.end(CloseCode.NOT_FOUND)
        if isinstance(error, Unauthenticated):
            writer.end(CloseCode.UNAUTHENTICATED, "Access ended")
        bad = isinstance(error, _BAD_FRAMES)
        self._bad_in_a_row = self._bad_in_a_row + 1 if bad else 0
        if self._bad_in_a_row >= client_frames.MAX_BAD_FRAMES:
            writer.end(CloseCode.BROKEN_CLIENT)
        limited = isinstance(error, RateLimited)
        self._refused_in_a_row = self._refused_in_a_row + 1 if limited else 0
        if self._refused_in_a_row >= client_frames.MAX_REFUSED_FRAMES:
            writer.end(CloseCode.RATE_LIMITED)


async def _finish_despite_disconnect(work: Coroutine[Any, Any, None]) -> None:
    """Finish the work even if the connection ends meanwhile; its errors are then dropped."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.shield(task)


def _options(scope: dict[str, Any]) -> dict[str, str]:
    """Return the query parameters of the address; of a repeated one, the last value."""
    parameters = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    return {name: values[-1] for name, values in parameters.items()}


def _number(text: str) -> int:
    """Parse a number of the address; -1, which is out of range everywhere, for any other text."""
    try:
        return int(text)
    except ValueError:
        return -1


def _implied(actor: Any) -> str:
    """Return the session that a resume token gives access to; empty for other callers."""
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
    """Parse a frame that was refused before it was parsed, for its id."""
    try:
        return _fields(text)
    except AgentError:
        return {}


def _done(command: client_frames.Command, content: str = "Done", **fields: Any) -> Status:
    return Status(status="done", content=content, ref=command.id, **fields)


def _restarting() -> Restarting:
    restarting = Restarting(retry_after=comeback_seconds())
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
