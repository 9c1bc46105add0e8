"""Runs one claimed turn, from its prompt to its end.

A task of its own reads the provider, and is cancelled at once when the turn is cancelled. Writing
the end is never cancelled, and is repeated until the database answers: the attempt's number fences
it, so a repetition, or a process that lost its lease, changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any, Protocol

import structlog

from agent import metrics
from agent.conf import conf
from agent.errors import AgentError, InternalError
from agent.live import cancellation
from agent.live.hub import Answer, Topic
from agent.live.publish import Live
from agent.protocol import server_frames
from agent.provider.decoder import Chunk, Delta, Finish, Reasoning, Source, Usage
from agent.provider.request import ChatRequest
from agent.store import db, turn_queue
from agent.store.prompt import ChatMessage, prompt
from agent.store.sequence import Change
from agent.store.turn_queue import Claimed, Outcome

log = structlog.get_logger(__name__)

_now = time.monotonic

#: Longer reasoning is neither sent nor stored; the answer continues.
MAX_REASONING_CHARS = 200_000
MAX_SOURCES = 100


class Model(Protocol):
    """The provider, or the demo model."""

    def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        """Yield the answer in chunks; raises `AgentError`."""

    async def aclose(self) -> None:
        """Close its connections."""


class Run:
    """A turn while it runs, and its answer so far."""

    def __init__(self, live: Live, claimed: Claimed, seq: int) -> None:
        self.live, self.claimed = live, claimed
        self.topic: Topic = live.hub.topic(claimed.session_id)
        self.answer = Answer(
            claimed.turn_id, claimed.attempt, claimed.ref, live.broker.process, seq, whole=True
        )
        self.usage = Usage(None, None, None, None)
        self.sources: list[Source] = []
        self.finish_reason = ""
        self.first_token_ms: int | None = None
        self.reasoning_ms: int | None = None  # how long the model reasoned, once it has finished
        self._reasons_since: float | None = None

    async def read(self, model: Model) -> None:
        """Read the whole answer.

        Raises:
            AgentError: from the provider, or `InternalError`.
        """
        request = _request(await db.repeated(self._prompt))
        began = _now()
        async for chunk in model.stream(request):
            if isinstance(chunk, Delta | Reasoning) and self.first_token_ms is None:
                self.first_token_ms = _milliseconds_since(began)
                metrics.first_token.observe(self.first_token_ms / 1000)
            match chunk:
                case Reasoning(text):
                    self._reason(text)
                case Delta(text):
                    if text.strip():
                        self._stop_reasoning()
                    self.answer.text += text
                    self.live.text_appended(self.topic, self.answer)
                case Source():
                    self.sources.append(chunk)
                case Usage():
                    self.usage = chunk
                case Finish(reason):
                    self.finish_reason = reason

    def _reason(self, text: str) -> None:
        if self._reasons_since is None:
            self._reasons_since = _now()
        if conf().reasoning != "show":
            return
        if text := text[: MAX_REASONING_CHARS - len(self.answer.reasoning)]:
            self.answer.reasoning += text
            self.live.text_appended(self.topic, self.answer)

    def _stop_reasoning(self) -> None:
        if self._reasons_since is not None and self.reasoning_ms is None:
            self.reasoning_ms = _milliseconds_since(self._reasons_since)

    async def _prompt(self) -> list[ChatMessage]:
        return await db.read(
            prompt,
            self.claimed.query_id,
            self.claimed.session_id,
            after=self.claimed.context_after,
            until=self.claimed.context_until,
            system_prompt=conf().system_prompt,
            max_history=conf().max_history,
        )

    def outcome(self, *, error: AgentError | None = None, stopped: str = "") -> Outcome:
        self._stop_reasoning()
        return Outcome(
            text=self.answer.text,
            finish_reason="" if error else stopped or self.finish_reason or "stop",
            error=error,
            model=self.usage.model or conf().model_name,
            prompt_tokens=self.usage.prompt_tokens,
            completion_tokens=self.usage.completion_tokens,
            cost=self.usage.cost,
            first_token_ms=self.first_token_ms,
            reasoning_tokens=self.usage.reasoning_tokens,
            cached_tokens=self.usage.cached_tokens,
            reasoning_ms=self.reasoning_ms,
            reasoning=self.answer.reasoning,
            sources=self.sources[:MAX_SOURCES],
        )


def _request(messages: list[ChatMessage]) -> ChatRequest:
    """Build the request of a turn: its prompt, and the settings' model and parameters."""
    settings = conf()
    return ChatRequest(
        messages=messages,
        models=(settings.model, *settings.fallback_models),
        temperature=settings.temperature,
        max_tokens=settings.max_tokens,
        reasoning_effort=settings.reasoning_effort,
    )


def _milliseconds_since(moment: float) -> int:
    return round((_now() - moment) * 1000)


async def run_turn(live: Live, claimed: Claimed, seq: int, model: Model) -> bool:
    """Run a claimed turn to its end.

    Args:
        live: this process's.
        claimed: the turn.
        seq: the session's newest message when the turn was claimed.
        model: answers the turn.

    Returns:
        whether other turns of the session wait.
    """
    run = Run(live, claimed, seq)
    stop = live.cancellations.of(claimed.turn_id)
    run.topic.begin(run.answer)
    status = server_frames.thinking(claimed.turn_id, claimed.attempt, claimed.ref)
    live.publish(Change(claimed.session_id, seq, statuses=[status]))
    try:
        with metrics.running.track_inprogress(), metrics.duration.time():
            outcome = await _outcome(run, model, stop)
        return await _finish(live, claimed, outcome) if outcome else False
    finally:
        stop.cancel()
        run.topic.forget(run.answer)


async def _outcome(run: Run, model: Model, stop: asyncio.Future[str]) -> Outcome | None:
    """Return how the turn ended; None when this process lost its lease."""
    reading = asyncio.create_task(run.read(model))
    either: list[asyncio.Future[Any]] = [reading, stop]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        reading.cancel()
    error = await _error(run, reading)
    if not (stop.done() and not stop.cancelled() and reading.cancelled()):
        return run.outcome(error=error)
    if stop.result() == cancellation.LEASE_LOST:
        return None
    return run.outcome(stopped=stop.result())


async def _error(run: Run, reading: asyncio.Task[None]) -> AgentError | None:
    await asyncio.wait({reading})
    if reading.cancelled() or (error := reading.exception()) is None:
        return None
    ids = {"session": str(run.claimed.session_id), "turn": str(run.claimed.turn_id)}
    if isinstance(error, AgentError):
        status = {} if error.status is None else {"status": error.status}
        log.info("turn failed", code=error.code, **status, **ids)
        return error
    internal = InternalError()
    log.error(
        "turn failed", incident=internal.incident, error=type(error).__name__, exc_info=error, **ids
    )
    return internal


async def _finish(live: Live, claimed: Claimed, outcome: Outcome) -> bool:
    ended = await db.repeated(lambda: db.transact(turn_queue.finish, claimed, outcome))
    if ended is None:
        log.warning("turn had lost its lease", turn=str(claimed.turn_id))
        return False
    change, others_wait = ended
    live.publish(change)
    return others_wait
