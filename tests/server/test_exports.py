"""An export ends with the access of its caller, and a part of one never passes for the whole."""

import asyncio
import http.client
import json
import sqlite3
from contextlib import closing
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from agent.models import ApiToken
from tests.support.services import HOST


def revoke():
    ApiToken.objects.update(revoked_at=timezone.now())


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
