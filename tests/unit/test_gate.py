"""Signing in is slowed down before anything is looked up; a refusal says when to return.

Without the mark `django_db` any use of the database fails the test.
"""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from agent.access.limits import Limits
from agent.api import gate
from agent.conf import conf
from agent.errors import Overloaded, RateLimited
from agent.store import lanes
from agent.worker import runtime

PAGES = ["/login/", "/admin/login/"]


@pytest.fixture
async def few():
    """Few tries, counted from the start."""
    counted = Limits(replace(conf(), max_sign_ins_per_minute=8, max_wrong_passwords_per_minute=3))
    runtime.current().limits = counted
    return counted


def wrong(path, name="ann", address="203.0.113.1"):
    request = RequestFactory().post(path, {"username": name, "password": "guess"})
    request.META["REMOTE_ADDR"] = address
    return request


async def asked(request, *, right=False):
    """The answer of the gate before a sign-in that fails, or succeeds."""
    looked = []

    async def sign_in(request):
        looked.append(request)
        if right:
            user = SimpleNamespace(get_username=lambda: request.POST["username"])
            gate.note_sign_in(request=request, user=user)
        return HttpResponse(status=302 if right else 200)

    passing = gate.Gate(sign_in)

    async def straight(request):
        return await sign_in(request)

    passing._respond = straight
    response = await passing(request)
    return response, bool(looked)


@pytest.mark.parametrize("path", PAGES)
async def test_guessing_a_name_is_slowed_down_from_wherever_it_comes(few, path):
    for number in range(3):
        response, looked = await asked(wrong(path, address=f"203.0.113.{number}"))
        assert looked and response.status_code == 200
    response, looked = await asked(wrong(path, name=" Ann", address="203.0.113.9"))
    assert response.status_code == 429 and not looked
    assert 0 < int(response["Retry-After"]) <= 60
    assert f"{response['Retry-After']} second" in response.content.decode()
    response, looked = await asked(wrong(path, name="bob"))
    assert looked, "another name"


@pytest.mark.parametrize("path", PAGES)
async def test_an_address_has_so_many_tries_whatever_names_it_tries(few, path):
    for number in range(8):
        assert (await asked(wrong(path, name=f"n{number}")))[1]
    response, looked = await asked(wrong(path, name="n8"))
    assert response.status_code == 429 and not looked
    assert (await asked(wrong(path, name="n9", address="203.0.113.2")))[1]


async def test_a_right_password_takes_its_count_back_and_keeps_its_place_open(few):
    home, elsewhere = "203.0.113.1", "198.51.100.1"
    for _ in range(5):
        assert (await asked(wrong("/login/", address=home), right=True))[1]
    for _ in range(3):
        assert (await asked(wrong("/login/", address=elsewhere)))[1]
    assert not (await asked(wrong("/login/", address=elsewhere)))[1]
    assert (await asked(wrong("/login/", address=home), right=True))[1], (
        "nobody is locked out there"
    )


async def test_a_redirect_alone_is_no_right_password(few):
    for _ in range(3):
        request = wrong("/login/")
        gate_ = gate.Gate(None)

        async def signed_in_before(request):
            return HttpResponse(status=302)

        gate_._respond = signed_in_before
        await gate_(request)
    assert not (await asked(wrong("/login/")))[1]


async def test_tries_at_the_same_moment_come_one_after_the_other(few):
    many = [asked(wrong("/login/"), right=True) for _ in range(8)]
    assert all(looked for _, looked in await asyncio.gather(*many))


async def test_looking_at_the_page_is_no_try(few):
    for _ in range(20):
        request = RequestFactory().get("/login/")
        assert (await asked(request))[1]


@pytest.mark.parametrize(
    ("path", "lane"),
    [
        ("/healthz", lanes.HEALTH),
        ("/readyz", lanes.HEALTH),
        ("/", lanes.PAGES),
        ("/login/", lanes.PAGES),
        ("/admin/login/", lanes.PAGES),
        ("/api/sessions/", lanes.PAGES),
        ("/admin/", lanes.STAFF),
        ("/admin/agent/session/", lanes.STAFF),
    ],
)
def test_staff_pages_and_probes_do_not_share_with_visitors(path, lane):
    assert gate._lane_of(path) == lane


@pytest.mark.parametrize(
    ("error", "status"), [(Overloaded(retry_after=4.2), 503), (RateLimited(retry_after=4.2), 429)]
)
def test_who_has_to_come_back_is_told_when_in_the_form_that_fits(error, status):
    page = gate.refusal(RequestFactory().get("/"), error)
    assert page.status_code == status and page["Retry-After"] == "5"
    assert "Try again in 5 seconds." in page.content.decode()
    answer = gate.refusal(RequestFactory().get("/api/sessions/"), error)
    assert answer.status_code == status and answer["Retry-After"] == "5"
    assert answer["Content-Type"] == "application/json"
