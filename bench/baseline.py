"""What streaming costs at the least: an ASGI application that passes tokens on and keeps nothing.

No database, no session, no order, no retry, no second tab. For `bench.streaming`, which gives the
address of its provider in PROVIDER.
"""

from __future__ import annotations

import json
import os
from typing import Any

import httpx
from httpx_sse import aconnect_sse

_client = httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_connections=1000))


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        query = json.loads(message["text"])
        text = ""
        async for token in _tokens(query["content"]):
            text += token
            await _send(send, {"type": "delta", "content": token})
        await _send(send, {"type": "response", "content": text, "ref": query["id"]})


async def _tokens(prompt: str) -> Any:
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": prompt}]}
    url = f"{os.environ['PROVIDER']}/chat/completions"
    async with aconnect_sse(_client, "POST", url, json=body) as source:
        async for event in source.aiter_sse():
            if event.data == "[DONE]":
                return
            for choice in json.loads(event.data)["choices"]:
                if token := choice["delta"].get("content"):
                    yield token


async def _send(send: Any, frame: dict[str, Any]) -> None:
    await send({"type": "websocket.send", "text": json.dumps(frame)})
