"""A minimal Channels consumer over the in-memory layer, as tutorials have it.

The consumer asks the provider and sends each token to its session's group, which every tab of the
session has joined. PROVIDER is the address of its provider.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import path

from .by_hand import tokens

settings.configure(
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
    INSTALLED_APPS=[],
)


class Consumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    async def connect(self) -> None:
        self.group = uuid.uuid4().hex
        self.answers: set[asyncio.Task[None]] = set()
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive_json(self, content: dict[str, Any]) -> None:
        answer = asyncio.create_task(self.answer(content))
        self.answers.add(answer)
        answer.add_done_callback(self.answers.discard)

    async def answer(self, query: dict[str, Any]) -> None:
        text = ""
        async for token in tokens(query):
            text += token
            await self.tell({"type": "delta", "content": token})
        await self.tell({"type": "response", "content": text, "ref": query["id"]})

    async def tell(self, frame: dict[str, Any]) -> None:
        await self.channel_layer.group_send(self.group, {"type": "frame", "frame": frame})

    async def frame(self, message: dict[str, Any]) -> None:
        await self.send_json(message["frame"])


application = ProtocolTypeRouter({"websocket": URLRouter([path("", Consumer.as_asgi())])})
