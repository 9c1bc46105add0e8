"""Bodies of the API: how they are read, and how long ones are written."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja.parser import Parser

from agent.conf import conf
from agent.errors import InvalidJson, NotJson, TooLarge
from agent.protocol.strict_json import parse_object, refuse_nul


class StrictJson(Parser):
    """Bodies are JSON objects as strict as frames are."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        if request.content_type not in ("", "application/json"):
            raise NotJson
        if len(request.body) > conf().max_frame_bytes:
            raise TooLarge(f"A body may have {conf().max_frame_bytes} bytes; this one has more.")
        try:
            text = request.body.decode()
        except UnicodeDecodeError:
            raise InvalidJson from None
        fields = parse_object(text)
        refuse_nul(text, fields)
        return fields


async def json_response(value: Any) -> HttpResponse:
    """A response that may be long, encoded off the event loop."""
    text = await asyncio.to_thread(json.dumps, value, ensure_ascii=False, separators=(",", ":"))
    return HttpResponse(text, content_type="application/json; charset=utf-8")
