"""The live path: brings a commit to every connection of its session, here and in other processes.

In this process, the session's topic applies the change at once; the broker carries it elsewhere.
Publishing comes after the commit, and only through `Live.publish`, or `publish_on_commit` in
synchronous code.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable
from functools import partial
from uuid import UUID
from weakref import WeakSet

from asgiref.sync import async_to_sync
from django.db import transaction

from agent import metrics
from agent.protocol import server_frames
from agent.store.sequence import Change

from .broker import Broker
from .cancellation import Cancellations
from .hub import Answer, Frame, Hub, Presence, Topic

#: How long draining waits for connections to close.
_FAREWELL_SECONDS = 3.0

#: The objects that serve connections in this process, for synchronous callers.
_serving: WeakSet[Live] = WeakSet()


class Live:
    """The state of a process for its connections, and its way to other processes."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.cancellations = Cancellations()
        self.broker = Broker(self.hub, self.cancellations)
        self._failing: set[str] = set()  # the parts that this process cannot reach now: redis, ...
        self._loop: asyncio.AbstractEventLoop | None = None

    def serve(self) -> None:
        """Let synchronous callers publish through this object, on the running event loop."""
        self._loop = asyncio.get_running_loop()
        _serving.add(self)

    def retire(self) -> None:
        """Undo `serve`."""
        _serving.discard(self)

    def publish(self, change: Change) -> None:
        """Send a commit to every connection of its session. Call it on the event loop."""
        metrics.committed(change.frames)
        if topic := self.hub.get(change.session_id):
            topic.apply(change.seq, change.frames, change.statuses)
            if change.deleted:
                topic.deleted()
        for stop in change.stops:
            if stop.worker == self.broker.process:
                self.cancellations.cancel_local(stop.turn_id, stop.reason)
        self.broker.publish(change)

    def text_appended(self, topic: Topic, answer: Answer) -> None:
        """Announce that text was appended to a running answer."""
        topic.text_appended()
        self.broker.publish_text(topic.session_id, answer)

    async def presence(self, session_id: UUID) -> Presence:
        """Count the connections of a session, in this process and in those that answer.

        Inexact: a process that answers late is not counted, nor any other without a shared layer.
        """
        return self.hub.presence(session_id) + await self.broker.ask_presence(session_id)

    # the state of this process

    def degraded(self, part: str, *, failing: bool) -> None:
        """Notify every connection of this process that a part fails, or that it works again.

        While a part fails, new connections are notified as well.
        """
        (self._failing.add if failing else self._failing.discard)(part)
        for subscriber in self.hub.subscribers():
            subscriber.send_later(server_frames.Degraded.of(part, failing=failing).frame())

    def is_degraded(self, part: str) -> bool:
        """Whether connections were notified that a part fails, and not yet that it works again."""
        return part in self._failing

    def degradations(self) -> list[Frame]:
        """Return the notifications for a new connection about the parts that fail now."""
        return [
            server_frames.Degraded.of(part, failing=True).frame() for part in sorted(self._failing)
        ]

    async def send_away(self) -> None:
        """Ask the client of every connection to reconnect, each after a different delay."""
        for subscriber in self.hub.subscribers():
            subscriber.send_away(retry_after=comeback_seconds())
        until = time.monotonic() + _FAREWELL_SECONDS
        while self.hub.subscribers() and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # each ends in a task of its own

    def _publish_all(self, changes: list[Change]) -> None:
        for change in changes:
            self.publish(change)

    def _publish_soon(self, changes: list[Change]) -> None:
        """`publish` from a thread."""
        if self._loop and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._publish_all, changes)


def publish_on_commit(changes: Iterable[Change]) -> None:
    """`Live.publish` for synchronous code: after its transaction commits, or at once without one.

    In a server, its event loop publishes. Other programs, such as a command, publish to the servers
    over the channel layer; without a shared one, servers find the rows within seconds.
    """
    transaction.on_commit(partial(_publish_anywhere, list(changes)))


def _publish_anywhere(changes: list[Change]) -> None:
    serving = list(_serving)
    for live in serving:
        live._publish_soon(changes)
    if changes and not serving:
        async_to_sync(_publish_once)(changes)


async def _publish_once(changes: list[Change]) -> None:
    live = Live()
    live._publish_all(changes)
    await live.broker.flush()


def comeback_seconds() -> float:
    """Return a random delay after which a client reconnects, so that not all come at once."""
    return round(random.uniform(0.5, 4), 1)  # noqa: S311
