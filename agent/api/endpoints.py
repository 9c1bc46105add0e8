"""The HTTP API: sessions of the caller, and notifications from outside.

An endpoint here takes its parameters, calls the core, and shapes the answer. Who may call, and what
an error looks like, is in `http`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import StreamingHttpResponse
from ninja import NinjaAPI, Path, Query
from ninja.responses import Status
from pydantic import BaseModel, ConfigDict, Field

from agent import __version__
from agent.actions import export, handles, notifications, retention, sessions
from agent.actions.notifications import Notice, Receipt
from agent.protocol.server_frames import rfc3339
from agent.store import session_list
from agent.worker import runtime

from .auth import CALLER, SENDER, count_notification, count_write
from .bodies import StrictJson, json_response
from .docs import Docs, made_once
from .errors import ERRORS_OF_NINJA, answer_exception

api = NinjaAPI(
    title="Agent WebSocket",
    version=__version__,
    description=(
        "Sessions of the caller, and notifications into them. The conversation itself is a "
        "WebSocket. Programs send a token: `Authorization: Bearer <token>`."
    ),
    openapi_url="/api/openapi.json",
    docs_url="/api/docs",
    docs=Docs(),
    docs_decorator=made_once,
    parser=StrictJson(),
    urls_namespace="api",
)
for kind in (Exception, *ERRORS_OF_NINJA):
    api.add_exception_handler(kind, answer_exception)


class Failure(BaseModel):
    code: str
    message: str


class Problem(BaseModel):
    """Every error."""

    error: Failure


_ANY = {401: Problem, 403: Problem, 422: Problem, 429: Problem, 500: Problem, 503: Problem}
_ONE = {**_ANY, 404: Problem}
_WITH_BODY = {**_ONE, 400: Problem, 413: Problem, 415: Problem}


# notifications


class NotificationIn(Notice):
    session: Annotated[str, Field(min_length=1, max_length=64, description="id of the session")]


class OriginalNotificationIn(BaseModel):
    model_config = ConfigDict(strict=True)

    sessionId: Annotated[str, Field(min_length=1, max_length=64)]
    message: Annotated[str, Field(min_length=1)]


class NotificationOut(BaseModel):
    id: str
    state: Literal["delivered", "stored"]
    connections: Annotated[int, Field(description="that the session had; approximate")]
    seq: Annotated[int, Field(description="its number in the session")]

    @classmethod
    def of(cls, receipt: Receipt) -> Status[NotificationOut]:
        fields = {name: getattr(receipt, name) for name in cls.model_fields}
        return Status(200 if receipt.repeated else 202, cls(**fields))


_SENT = {202: NotificationOut, 200: NotificationOut, 409: Problem, **_WITH_BODY}


@api.post("/api/notifications/", auth=SENDER, response=_SENT, summary="Send a notification")
async def notify(request: Any, body: NotificationIn) -> Any:
    """Send a text to every connection of a session. `delivered`: it has a connection now;
    `stored`: it is there for the next one. The same `id` again for a session: 200 and the first
    answer; with another text: 409."""
    return await _notify(request, body.session, body)


@api.post("/functions/v1/notify_websocket/", auth=SENDER, response=_SENT, include_in_schema=False)
@api.post(
    "/functions/v1/notify_websocket",
    auth=SENDER,
    response=_SENT,
    summary="Send a notification, as the original Agent WebSocket did",
)
async def notify_websocket(request: Any, body: OriginalNotificationIn) -> Any:
    """The same with the original's names."""
    return await _notify(request, body.sessionId, Notice(content=body.message))


async def _notify(request: Any, session_id: str, notice: Notice) -> Any:
    await count_notification(request)
    sender = request.auth.actor
    receipt = await notifications.notify(
        runtime.current().live, session_id, notice, of_user=sender.user_id
    )
    return NotificationOut.of(receipt)


# sessions


class SessionOut(BaseModel):
    id: UUID
    title: Annotated[str, Field(description="empty until it gets one")]
    preview: Annotated[str, Field(description="how its first question begins")]
    state: Literal["open", "closing", "closed"]
    last_seq: Annotated[int, Field(description="number of its newest frame")]
    created_at: str
    changed_at: Annotated[str, Field(description="when its newest frame was stored")]
    last_activity_at: str

    @classmethod
    def of(cls, session: Any) -> SessionOut:
        return cls(
            id=session.id,
            title=session.title,
            preview=session.preview,
            state=session.state,
            last_seq=session.last_seq,
            created_at=rfc3339(session.created_at),
            changed_at=rfc3339(session.changed_at),
            last_activity_at=rfc3339(session.last_activity_at),
        )


class SessionsOut(BaseModel):
    sessions: list[SessionOut]
    next: Annotated[str | None, Field(description="cursor of the next page, or null")]


class TranscriptOut(SessionOut):
    frames: Annotated[list[dict[str, Any]], Field(description="durable frames, oldest first")]
    has_more: Annotated[bool, Field(description="whether there are older ones")]


class RenameIn(BaseModel):
    model_config = ConfigDict(strict=True)

    title: Annotated[str, Field(min_length=1, max_length=200)]


_FILES: dict[str, Any] = {"text/markdown": {}, "application/json": {}}
SessionId = Annotated[str, Path()]
Limit = Annotated[int, Query(ge=1, le=100)]
_NO_NUL = r"^[^\x00]*$"  # PostgreSQL refuses it


@api.get("/api/sessions/", auth=CALLER, response={200: SessionsOut, **_ANY}, summary="My sessions")
async def list_sessions(
    request: Any,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    limit: Limit = 50,
    q: Annotated[str, Query(max_length=200, pattern=_NO_NUL)] = "",
) -> Any:
    """The one with the newest message first. `q`: only those with this text in their title or in
    a message. `cursor`: `next` of the page before; what happens meanwhile moves no page."""
    found, following = await session_list.page(
        request.auth.actor, cursor=cursor, limit=limit, text=q
    )
    page = SessionsOut(sessions=[SessionOut.of(session) for session in found], next=following)
    return await json_response(page.model_dump(mode="json"))


@api.get(
    "/api/sessions/{session_id}/",
    auth=CALLER,
    response={200: TranscriptOut, **_ONE},
    summary="One session with its frames",
)
async def get_session(
    request: Any,
    session_id: SessionId,
    before: Annotated[int | None, Query(ge=0, le=2**31 - 1)] = None,
    limit: Limit = 50,
) -> Any:
    """Its newest durable frames, or those before the number `before`. Long frames make a page
    shorter than `limit`: `has_more` tells whether there are older ones."""
    live = runtime.current().live
    handle = await handles.find(live, request.auth.actor, session_id)
    frames, has_more = await sessions.history(handle, before, limit)
    facts = SessionOut.of(await session_list.get(handle.id)).model_dump(mode="json")
    return await json_response({**facts, "frames": frames, "has_more": has_more})


@api.get(
    "/api/sessions/{session_id}/export",
    auth=CALLER,
    response=_ONE,
    summary="Download one session",
    openapi_extra={"responses": {200: {"description": "A file", "content": _FILES}}},
)
async def export_session(
    request: Any,
    session_id: SessionId,
    format: Annotated[export.Format, Query()] = "md",
) -> Any:
    """All of it as Markdown, or as JSON with its frames."""
    live = runtime.current().live
    handle = await handles.find(live, request.auth.actor, session_id)
    session = await session_list.get(handle.id)
    facts = SessionOut.of(session).model_dump(mode="json")
    return StreamingHttpResponse(
        export.export(session, facts, format, request.auth),
        content_type=export.CONTENT_TYPES[format],
        headers={"Content-Disposition": f'attachment; filename="session-{handle.id}.{format}"'},
    )


@api.patch(
    "/api/sessions/{session_id}/",
    auth=CALLER,
    response={200: SessionOut, **_WITH_BODY},
    summary="Rename one session",
)
async def rename_session(request: Any, session_id: SessionId, body: RenameIn) -> Any:
    """Its connections get `renamed`, unless it has that title already."""
    await count_write(request)
    live = runtime.current().live
    handle = await handles.find(live, request.auth.actor, session_id)
    await sessions.rename(handle, body.title)
    return SessionOut.of(await session_list.get(handle.id))


@api.delete(
    "/api/sessions/{session_id}/",
    auth=CALLER,
    response={204: None, **_ONE},
    summary="Delete one session for good",
)
async def delete_session(request: Any, session_id: SessionId) -> Any:
    """With everything in it. What runs in it is stopped; its connections are closed with 4404."""
    await count_write(request)
    live = runtime.current().live
    handle = await handles.find(live, request.auth.actor, session_id)
    await retention.delete_now(live, handle.id)
    return Status(204, None)
