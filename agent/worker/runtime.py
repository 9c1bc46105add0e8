"""The runtime of a process: the objects that live in memory as long as a server's event loop.

This module builds them, passes them to each other, and starts and drains them.
"""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakKeyDictionary

from agent import metrics
from agent.access.limits import Limits
from agent.access.tcp_connections import AddressConnections
from agent.conf import Conf, conf
from agent.live.publish import Live
from agent.provider.client import Provider
from agent.provider.demo import DemoProvider

from . import maintenance
from .runner import Model
from .worker import Worker

#: How long the loops may take to end.
_END_SECONDS = 5.0


class Runtime:
    """The parts of a server process. They can be used before `start`; turns run after it.

    Args:
        conf: the settings.
        model: answers turns; by default the settings' provider, or the demo model.
    """

    def __init__(self, conf: Conf, model: Model | None = None) -> None:
        self._conf = conf
        self.live = Live()
        self.limits = Limits(conf)
        self.addresses = AddressConnections.of(conf)
        self.worker = Worker(conf, self.live, model or _model(conf))
        self._watch = maintenance.Watch(self.live)
        self._loops: list[asyncio.Task[None]] = []
        self._draining: asyncio.Task[None] | None = None
        metrics.sessions.set_function(self.live.hub.in_use)

    @property
    def draining(self) -> bool:
        """Whether this process accepts no more work."""
        return self._draining is not None

    @property
    def is_ready(self) -> bool:
        """Whether this process accepts work: not before its first check of database and Redis."""
        return not self._loops or (self._watch.looked and not self.draining)

    def start(self) -> None:
        """Start to run turns and to maintain connections; may be repeated."""
        if self._loops:
            return
        self.live.serve()
        worker, broker = self.worker, self.live.broker
        steps: list[maintenance.Step] = [worker.claim_wanted, worker.poll, worker.renew]
        steps += maintenance.steps(self._conf, self.live, self.limits, self._watch)
        if broker.shared:
            steps += [broker.run, broker.receive, broker.keep_joined]
        self._loops = [asyncio.create_task(maintenance.forever(step)) for step in steps]

    async def drain(self, grace_seconds: float) -> None:
        """Prepare the end of the process, so that no frame and no turn is lost.

        Clients are asked to reconnect, running turns may end, and the rest is handed back.

        Args:
            grace_seconds: how long to wait for turns to end.
        """
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain(grace_seconds))
        await asyncio.shield(self._draining)

    async def _drain(self, grace_seconds: float) -> None:
        self.worker.draining = True
        await self.live.send_away()
        await self.worker.drain(grace_seconds)
        await self.live.broker.flush()
        self.live.retire()
        for loop in self._loops:
            loop.cancel()
        if self._loops:
            await asyncio.wait(self._loops, timeout=_END_SECONDS)
        await self.worker.model.aclose()
        await self.limits.aclose()


def _model(conf: Conf) -> Model:
    if conf.demo:
        return DemoProvider()
    return Provider(
        api_key=conf.openrouter_api_key,
        base_url=conf.openrouter_base_url,
        connect_timeout=conf.provider_connect_timeout,
        first_token_timeout=conf.provider_first_token_timeout,
        token_timeout=conf.provider_token_timeout,
        total_timeout=conf.provider_total_timeout,
        max_connections=conf.max_concurrent_turns,
        title=conf.agent_name,
    )


_runtimes: WeakKeyDictionary[asyncio.AbstractEventLoop, Runtime] = WeakKeyDictionary()


def current() -> Runtime:
    """Return the runtime of the running event loop; builds it at the first call."""
    loop = asyncio.get_running_loop()
    found = _runtimes.get(loop)
    if found is None:
        found = _runtimes[loop] = Runtime(conf())
    return found


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    """Handle the ASGI lifespan of a server that sends it: start the runtime, and drain it."""
    await receive()  # lifespan.startup
    current().start()
    await send({"type": "lifespan.startup.complete"})
    await receive()  # lifespan.shutdown
    await current().drain(grace_seconds=0)
    await send({"type": "lifespan.shutdown.complete"})
