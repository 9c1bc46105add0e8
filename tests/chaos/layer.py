"""A channel layer that drops, doubles and shuffles what processes tell each other."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from channels_redis.pubsub import RedisPubSubChannelLayer
from redis.exceptions import RedisError

_DROPPED, _DOUBLED = 0.3, 0.3
_LATEST_SECONDS = 0.3


class FaultyLayer(RedisPubSubChannelLayer):  # type: ignore[misc]
    """Redis pub/sub on a very bad day."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._on_their_way: set[asyncio.Task[None]] = set()

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        self._carry(self._get_layer().send, channel, message)

    async def group_send(self, topic: str, message: dict[str, Any]) -> None:
        self._carry(self._get_layer().group_send, topic, message)

    def _carry(self, send: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        if random.random() < _DROPPED:
            return
        for _ in range(2 if random.random() < _DOUBLED else 1):
            task = asyncio.create_task(self._late(send, *arguments))
            self._on_their_way.add(task)
            task.add_done_callback(self._on_their_way.discard)

    async def _late(self, send: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        await asyncio.sleep(random.uniform(0, _LATEST_SECONDS))
        with suppress(RedisError, OSError):
            await send(*arguments)
