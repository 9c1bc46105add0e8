"""The live path: a commit reaches every connection of its session, here and in other processes.

Here, the session's topic takes the change at once; the broker carries it to other processes.
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

#: How long connections are waited for that were sent away.
_FAREWELL_SECONDS = 3.0

#: Those that serve connections in this process, for synchronous callers.
_serving: WeakSet[Live] = WeakSet()


class Live:
    """What a process keeps in memory for its connections, and its way to other processes."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.cancellations = Cancellations()
        self.broker = Broker(self.hub, self.cancellations)
        self._failing: set[str] = set()  # the parts that this process cannot reach now
        self._loop: asyncio.AbstractEventLoop | None = None

    def serve(self) -> None:
        """From now on, synchronous callers publish through this, on the running event loop."""
        self._loop = asyncio.get_running_loop()
        _serving.add(self)

    def retire(self) -> None:
        """The end of `serve`."""
        _serving.discard(self)

    def publish(self, change: Change) -> None:
        """Make a commit known to every connection of its session. Call it on the event loop."""
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
        """Make known that the text of a running answer has become longer."""
        topic.text_appended()
        self.broker.publish_text(topic.session_id, answer)

    async def presence(self, session_id: UUID) -> Presence:
        """The connections of a session now, as far as the processes can be asked.

        Inexact: a process that answers late is not counted, and without a shared layer none is.
        """
        return self.hub.presence(session_id) + await self.broker.ask_presence(session_id)

    # the state of this process

    def degraded(self, part: str, *, failing: bool) -> None:
        """Tell every connection of this process that a part of it fails, or that it works again.

        While it fails, new connections are told as well.
        """
        (self._failing.add if failing else self._failing.discard)(part)
        for subscriber in self.hub.subscribers():
            subscriber.send_later(server_frames.Degraded.of(part, failing=failing).frame())

    def is_degraded(self, part: str) -> bool:
        """Whether connections were told that a part fails, and not yet that it works again."""
        return part in self._failing

    def degradations(self) -> list[Frame]:
        """The notifications of a new connection about the parts that fail now."""
        return [
            server_frames.Degraded.of(part, failing=True).frame() for part in sorted(self._failing)
        ]

    async def send_away(self) -> None:
        """Ask every connection of this process to come back, each at another moment."""
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
    """`Live.publish` for synchronous code, when its transaction is committed: at once without one.

    In a server, its event loop publishes. Other programs, such as a command, tell the servers over
    the channel layer; without a shared one, servers find the rows within seconds.
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
    """After how many seconds a client that is sent away shall come back; not all at once."""
    return round(random.uniform(0.5, 4), 1)  # noqa: S311
