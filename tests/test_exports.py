"""An export ends with the access of its caller, and a part of one never passes for the whole."""

import asyncio
import http.client
import json
import sqlite3
from contextlib import closing
from uuid import UUID, uuid4

import pytest
from django.contrib.auth import get_user_model
from django.test import AsyncClient
from django.utils import timezone

from agent.actions import export, retention
from agent.models import ApiToken, Session
from agent.store import db, pages

from .services import HOST
from .test_api import ann, exchange, token, user

pytest_plugins = ["tests.servers"]


def talk():
    held = ann()
    for _ in range(3):
        exchange(held)
    return held


def revoke():
    ApiToken.objects.update(revoked_at=timezone.now())


def deactivate():
    get_user_model().objects.update(is_active=False)


def delete():
    retention.delete_all(Session.objects.all())


def remove_token():
    ApiToken.objects.all().delete()


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("form", ["md", "json"])
@pytest.mark.parametrize("end", [revoke, deactivate, delete, remove_token])
@pytest.mark.parametrize("pieces", [1, 2, 4])
async def test_an_export_breaks_off_when_access_ends_or_the_session_is_deleted(
    form, end, pieces, monkeypatch
):
    monkeypatch.setattr(pages, "PAGE_ROWS", 2)
    held = await db.transact(talk)
    made = await db.transact(token, of=await db.read(user))
    response = await AsyncClient().get(
        f"/api/sessions/{held.id}/export?format={form}",
        headers={"authorization": f"Bearer {made}"},
    )
    stream = aiter(response.streaming_content)
    for _ in range(pieces):
        assert await anext(stream)
    await db.transact(end)
    with pytest.raises(export.Ended):
        async for _ in stream:
            pass


@pytest.mark.django_db(transaction=True)
async def test_an_export_of_somebody_who_signed_out_breaks_off(monkeypatch):
    monkeypatch.setattr(pages, "PAGE_ROWS", 2)
    held = await db.transact(talk)
    client = AsyncClient()
    await client.aforce_login(await db.read(user))
    address = f"/api/sessions/{held.id}/export?format=json"
    response = await client.get(address, headers={"origin": "http://testserver"})
    assert response.status_code == 200
    stream = aiter(response.streaming_content)
    await anext(stream)
    await client.alogout()
    with pytest.raises(export.Ended):
        async for _ in stream:
            pass


@pytest.mark.server
async def test_the_connection_of_an_export_is_cut_when_its_token_is_revoked(server):
    made = server.manage("agent_token", "create", "--name", "cut", "--scope", "chat")
    made = made.strip().splitlines()[-1]
    headers = {"Authorization": f"Bearer {made}"}
    async with server.connect(headers=headers) as client:
        await client.end(await client.ask("say: hi"))
        session = client.transcript.session
    key = UUID(session).hex
    _insert(server, key, 60)
    await asyncio.to_thread(_read_while_revoked, server, session, headers)


def _insert(server, key, number):
    data = json.dumps({"id": "x", "author": "agent", "finish_reason": "stop", "turn": "t"})
    with closing(sqlite3.connect(server.database, timeout=20)) as connection, connection:
        connection.executemany(
            "INSERT INTO agent_message (id, session_id, seq, type, content, partial, data,"
            " created_at) VALUES (?, ?, ?, 'response', ?, '', ?, '2026-01-01 00:00:00')",
            [(uuid4().hex, key, 100 + n, "x" * 500_000, data) for n in range(number)],
        )


def _read_while_revoked(server, session, headers):
    connection = http.client.HTTPConnection(HOST, server.port, timeout=60)
    connection.request("GET", f"/api/sessions/{session}/export?format=json", headers=headers)
    response = connection.getresponse()
    assert response.read(1000)
    server.manage("agent_token", "revoke", "cut")
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        response.read()
    connection.close()
