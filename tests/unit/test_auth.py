"""Who is calling: tokens first and never passed over, cookies only from our own pages."""

import re
from uuid import uuid4

import pytest
from django.core.signing import Signer
from django.http import HttpResponse
from django.test import Client, RequestFactory

from agent.access import authentication
from agent.access import origin as origin_module
from agent.actor import Access, Actor
from agent.errors import Unauthenticated

HOST = "127.0.0.1:8000"


def scope(*, origin=None, host=HOST, scheme="ws", cookies="", bearer="", subprotocols=()):
    headers = [(b"host", host.encode())]
    headers += [(b"origin", origin.encode())] if origin is not None else []
    headers += [(b"cookie", cookies.encode())] if cookies else []
    headers += [(b"authorization", f"Bearer {bearer}".encode())] if bearer else []
    return {"scheme": scheme, "headers": headers, "subprotocols": list(subprotocols)}


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
        ("http://127.0.0.1:8000/", HOST, "ws", False),
        ("http://127.0.0.1:8000/page", HOST, "ws", False),
        ("http://127.0.0.1:8000?x", HOST, "ws", False),
        ("http://evil.test@127.0.0.1:8000", HOST, "ws", False),
        ("http://127.0.0.1:8000 http://evil.test", HOST, "ws", False),
        ("http://127.0.0.1:8000.evil.test", HOST, "ws", False),
        ("http://127.0.0.1:99999", HOST, "ws", False),
        ("http://[", HOST, "ws", False),
    ],
)
def test_an_origin_is_ours_with_our_scheme_host_and_port(origin, host, scheme, ours):
    assert origin_module.origin_is_ours(scope(origin=origin, host=host, scheme=scheme)) is ours


def test_an_allowed_origin_is_ours_too(agent_settings):
    agent_settings(allowed_origins=("https://example.org",))
    assert origin_module.origin_is_ours(scope(origin="https://Example.org"))
    assert origin_module.origin_is_ours(scope(origin="http://example.org")) is False


async def test_a_resume_token_is_good_for_its_session_and_needs_no_cookie():
    session_id = uuid4()
    token = authentication.resume_token(session_id)
    by_header, by_protocol = scope(bearer=token), scope(subprotocols=["a", f"bearer.{token}"])
    for handshake in (by_header, by_protocol):
        access = await authentication.authenticate(handshake)
        assert access == Access(Actor(session_id=session_id), "resume")
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


async def test_a_token_of_another_use_of_the_key_is_refused():
    foreign = Signer(salt="agent.visitor").sign(uuid4().hex).replace(":", ".")
    with pytest.raises(Unauthenticated):
        await authentication.authenticate(scope(bearer=foreign))


# plain HTTP


def request(*, origin=None, secure=False, cookies="", bearer=""):
    headers = {"origin": origin} if origin is not None else {}
    headers |= {"cookie": cookies} if cookies else {}
    headers |= {"authorization": f"Bearer {bearer}"} if bearer else {}
    made = RequestFactory(headers=headers).get("/", secure=secure)
    made.META |= {"HTTP_HOST": HOST}
    return made


def test_a_browser_becomes_a_visitor_once(agent_settings):
    response = Client().get("/")
    cookie = response.cookies[authentication.VISITOR_COOKIE]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    again = Client()
    again.cookies = response.cookies
    assert authentication.VISITOR_COOKIE not in again.get("/").cookies
    agent_settings(allow_anonymous=False)
    assert authentication.VISITOR_COOKIE not in Client().get("/").cookies


def test_a_visitor_keeps_its_id():
    request = RequestFactory().get("/")
    response = HttpResponse()
    authentication.give_visitor_cookie(request, response)
    value = response.cookies[authentication.VISITOR_COOKIE].value
    assert len(Signer(salt="agent.visitor").unsign(value)) == 32


def test_a_caller_has_an_opaque_name_of_its_own_that_stays(settings):
    callers = [
        Actor(user_id=1),
        Actor(user_id=11),
        Actor(visitor="1"),
        Actor(token_id=1),
        Actor(session_id=uuid4()),
    ]
    names = [authentication.caller_name(caller) for caller in callers]
    assert names == [authentication.caller_name(caller) for caller in callers]
    assert len(set(names)) == len(callers)
    assert all(re.fullmatch("[0-9a-f]{24}", name) for name in names)
    assert authentication.caller_name(Actor()) == ""
    settings.SECRET_KEY = "another-secret-key-of-tests-only"
    assert not {authentication.caller_name(caller) for caller in callers} & set(names)
