"""Signing in is slowed down before anything is looked up; a refusal says when to return.

Without the mark `django_db` any use of the database fails the test.
"""

import asyncio

import pytest
from django.contrib.auth import get_user_model
from django.test import AsyncClient, RequestFactory

from agent.store import lanes, slots

PAGES = ["/login/", "/admin/login/"]


def wrong(path, name="ann", address="203.0.113.1"):
    request = RequestFactory().post(path, {"username": name, "password": "guess"})
    request.META["REMOTE_ADDR"] = address
    return request


@pytest.mark.django_db(transaction=True)
async def test_a_page_is_answered_when_no_slot_is_free(monkeypatch):
    monkeypatch.setattr(slots, "WAIT_SECONDS", 0.05)
    held = []
    with slots.lane(lanes.PAGES):
        for _ in range(lanes.CONNECTIONS[lanes.PAGES]):
            place = slots.Slot(lanes.PAGES)
            await place.take()
            held.append(place)
    response = await AsyncClient().get("/")
    assert response.status_code == 503 and "Retry-After" in response
    assert (await AsyncClient().get("/healthz")).status_code == 200
    for place in held:
        place.give()
    await asyncio.sleep(0)
    assert (await AsyncClient().get("/")).status_code in (200, 302)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", PAGES)
async def test_signing_in_works_through_all_of_it(path):
    await asyncio.to_thread(make_staff)
    browser = AsyncClient()
    for _ in range(2):
        data = {"username": "boss", "password": "wrong"}
        assert (await browser.post(path, data)).status_code == 200
    data["password"] = "of-tests-only"
    assert (await browser.post(path, data)).status_code == 302


def make_staff():
    get_user_model().objects.create_superuser("boss", password="of-tests-only")
