"""Who is calling: tokens first and never passed over, cookies only from our own pages."""

from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.signing import Signer
from django.http import HttpResponse
from django.test import Client, RequestFactory

from agent import auth
from agent.actor import Actor
from agent.errors import Unauthenticated

HOST = "127.0.0.1:8000"


def scope(*, origin=None, host=HOST, scheme="ws", cookies="", bearer="", subprotocols=()):
    headers = [(b"host", host.encode())]
    headers += [(b"origin", origin.encode())] if origin is not None else []
    headers += [(b"cookie", cookies.encode())] if cookies else []
    headers += [(b"authorization", f"Bearer {bearer}".encode())] if bearer else []
    return {"scheme": scheme, "headers": headers, "subprotocols": list(subprotocols)}


def visitor_cookie(visitor="v1"):
    return f"{auth.VISITOR_COOKIE}={Signer(salt='agent.visitor').sign(visitor)}"


@pytest.fixture
def agent_settings(settings):
    def change(**values):
        settings.AGENT = {**settings.AGENT, **values}

    return change


@pytest.mark.parametrize(
    ("origin", "host", "scheme", "ours"),
    [
        (None, HOST, "ws", None),
        ("http://127.0.0.1:8000", HOST, "ws", True),
        ("HTTP://127.0.0.1:8000", HOST, "ws", True),
        ("http://localhost", "localhost:80", "ws", True),
        ("https://localhost", "localhost", "wss", True),
        ("http://[::1]:8000", "[::1]:8000", "ws", True),
        ("http://127.0.0.1:8001", HOST, "ws", False),
        ("http://127.0.0.1", HOST, "ws", False),
        ("https://127.0.0.1:8000", HOST, "ws", False),
        ("http://localhost", "localhost", "wss", False),
        ("http://evil.test", HOST, "ws", False),
        ("http://evil.test", "evil.test", "ws", False),
        ("null", HOST, "ws", False),
        ("", HOST, "ws", False),
        ("http://127.0.0.1:8000.evil.test", HOST, "ws", False),
        ("http://127.0.0.1:99999", HOST, "ws", False),
        ("http://[", HOST, "ws", False),
    ],
)
def test_an_origin_is_ours_with_our_scheme_host_and_port(origin, host, scheme, ours):
    assert auth.origin_is_ours(scope(origin=origin, host=host, scheme=scheme)) is ours


def test_an_allowed_origin_is_ours_too(agent_settings):
    agent_settings(allowed_origins=("https://example.org",))
    assert auth.origin_is_ours(scope(origin="https://Example.org"))
    assert auth.origin_is_ours(scope(origin="http://example.org")) is False


@pytest.mark.django_db(transaction=True)
async def test_a_visitor_cookie_counts_with_a_fitting_origin_alone():
    ours, cookie = f"http://{HOST}", visitor_cookie()
    assert await auth.authenticate(scope(origin=ours, cookies=cookie)) == Actor(visitor="v1")
    assert await auth.authenticate(scope(cookies=cookie)) == Actor()
    forged = f"{auth.VISITOR_COOKIE}=v1:forged"
    assert await auth.authenticate(scope(origin=ours, cookies=forged)) == Actor()


@pytest.mark.django_db(transaction=True)
async def test_a_login_counts_before_the_visitor(agent_settings):
    agent_settings(allow_anonymous=False)
    user = await get_user_model().objects.acreate_user("ann")
    client = Client()
    await sync_to_async(client.force_login)(user)
    login = f"sessionid={client.cookies['sessionid'].value}; {visitor_cookie()}"
    ours = f"http://{HOST}"
    assert await auth.authenticate(scope(origin=ours, cookies=login)) == Actor(user_id=user.pk)
    with pytest.raises(Unauthenticated):
        await auth.authenticate(scope(cookies=login))
    await get_user_model().objects.aupdate(is_active=False)
    with pytest.raises(Unauthenticated):
        await auth.authenticate(scope(origin=ours, cookies=login))


async def test_a_resume_token_is_good_for_its_session_and_needs_no_cookie():
    session_id = uuid4()
    token = auth.resume_token(session_id)
    assert await auth.authenticate(scope(bearer=token)) == Actor(session_id=session_id)
    by_protocol = scope(subprotocols=["agent.v1", f"bearer.{token}"])
    assert await auth.authenticate(by_protocol) == Actor(session_id=session_id)
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


@pytest.mark.parametrize("token", ["x", "a.b", "." * 10, f"{'0' * 32}.AAAA", "ü"])
async def test_a_bad_token_is_refused_and_not_passed_over(token):
    cookie = visitor_cookie()
    with pytest.raises(Unauthenticated) as caught:
        await auth.authenticate(scope(origin=f"http://{HOST}", cookies=cookie, bearer=token))
    assert token not in caught.value.message


async def test_a_token_of_another_use_of_the_key_is_refused():
    foreign = Signer(salt="agent.visitor").sign(uuid4().hex).replace(":", ".")
    with pytest.raises(Unauthenticated):
        await auth.authenticate(scope(bearer=foreign))


@pytest.mark.django_db(transaction=True)
async def test_nobody_is_refused_where_nobody_may_come(agent_settings):
    agent_settings(allow_anonymous=False)
    for caller in (scope(), scope(origin=f"http://{HOST}", cookies=visitor_cookie())):
        with pytest.raises(Unauthenticated):
            await auth.authenticate(caller)


def test_a_browser_becomes_a_visitor_once(agent_settings):
    response = Client().get("/")
    cookie = response.cookies[auth.VISITOR_COOKIE]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    again = Client()
    again.cookies = response.cookies
    assert auth.VISITOR_COOKIE not in again.get("/").cookies
    agent_settings(allow_anonymous=False)
    assert auth.VISITOR_COOKIE not in Client().get("/").cookies


def test_a_visitor_keeps_its_id():
    request = RequestFactory().get("/")
    response = HttpResponse()
    auth.give_visitor_cookie(request, response)
    value = response.cookies[auth.VISITOR_COOKIE].value
    assert len(Signer(salt="agent.visitor").unsign(value)) == 32
