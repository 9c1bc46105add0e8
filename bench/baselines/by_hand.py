"""Starlette by hand: passes tokens on as they come, and keeps nothing.

No database, no session, no order, no retry, no second tab. PROVIDER is the address of its provider.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

_client = httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_connections=10_000))


async def tokens(query: dict[str, Any]) -> AsyncIterator[str]:
    """The answer of the provider, token by token."""
    messages = [{"role": "user", "content": query["content"]}]
    body = {"model": "m", "stream": True, "messages": messages}
    url = f"{os.environ['PROVIDER']}/chat/completions"
    async with _client.stream("POST", url, json=body) as response:
        async for line in response.aiter_lines():
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            for choice in json.loads(line[6:])["choices"]:
                if token := choice["delta"].get("content"):
                    yield token


async def chat(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            query = await socket.receive_json()
            text = ""
            async for token in tokens(query):
                text += token
                await socket.send_json({"type": "delta", "content": token})
            await socket.send_json({"type": "response", "content": text, "ref": query["id"]})
    except WebSocketDisconnect:
        pass


application = Starlette(routes=[WebSocketRoute("/", chat)])
