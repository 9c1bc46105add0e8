"""An export ends with the access of its caller, and a part of one never passes for the whole."""

import pytest
from django.contrib.auth import get_user_model
from django.test import AsyncClient
from django.utils import timezone

from agent.actions import export, retention
from agent.models import ApiToken, Session
from agent.store import db, replay
from tests.database.test_api import ann, exchange, token, user


def talk():
    handle = ann()
    for _ in range(3):
        exchange(handle)
    return handle


def revoke():
    ApiToken.objects.update(revoked_at=timezone.now())


def deactivate():
    get_user_model().objects.update(is_active=False)


def delete():
    retention.delete_all(Session.objects.all())


def remove_token():
    ApiToken.objects.all().delete()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("form", ["md", "json"])
@pytest.mark.parametrize("end", [revoke, deactivate, delete, remove_token])
@pytest.mark.parametrize("pieces", [1, 2, 4])
async def test_an_export_breaks_off_when_access_ends_or_the_session_is_deleted(
    form, end, pieces, monkeypatch
):
    monkeypatch.setattr(replay, "PAGE_ROWS", 2)
    handle = await db.transact(talk)
    made = await db.transact(token, of=await db.read(user))
    response = await AsyncClient().get(
        f"/api/sessions/{handle.id}/export?format={form}",
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
    monkeypatch.setattr(replay, "PAGE_ROWS", 2)
    handle = await db.transact(talk)
    client = AsyncClient()
    await client.aforce_login(await db.read(user))
    address = f"/api/sessions/{handle.id}/export?format=json"
    response = await client.get(address, headers={"origin": "http://testserver"})
    assert response.status_code == 200
    stream = aiter(response.streaming_content)
    await anext(stream)
    await client.alogout()
    with pytest.raises(export.Ended):
        async for _ in stream:
            pass
