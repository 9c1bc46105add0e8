"""Whatever stands in a Cookie header beside our cookies, both edges name the same caller.

Cookies are shared by all ports of a host and by all paths of a site, so other programs' cookies,
which keep no rules, come along with ours.
"""

import json
from io import BytesIO
from types import SimpleNamespace

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.handlers.asgi import ASGIRequest
from django.core.signing import Signer
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.access import authentication
from agent.errors import Unauthenticated

from .people import make, signed_in, visiting
from .raw import TEXT, Dropped, raw

pytest_plugins = ["tests.servers"]

HOST = b"127.0.0.1:8000"
ORIGIN = b"http://" + HOST
VISITOR = f"{authentication.VISITOR_COOKIE}={Signer(salt='agent.visitor').sign('v1')}".encode()

#: Cookie headers with our cookie at OURS, and whether it counts.
CORPUS = [
    ([b"OURS"], True),
    ([b'prefs={"a":1}; OURS'], True),
    ([b'OURS; prefs={"a":1}'], True),
    ([b"a[b]=1; OURS"], True),
    ([b"(x)=1; @y=2; z/=3; OURS"], True),
    ([b"a=b=c; OURS; d==e"], True),
    ([b"=nameless; OURS"], True),
    ([b"nameless; OURS"], True),
    ([b";;; ;OURS;"], True),
    ([b"  OURS  ;  a=b  "], True),
    ([b'a="x; OURS'], True),
    ([b'a="x\\"y"; OURS'], True),
    ([b'a="\\000\\012"; OURS'], True),
    ([b"a=caf\xc3\xa9; OURS"], True),
    ([b"a=\xc3\x85\xe2\x80\xa8; OURS"], True),
    ([b"a=\x85; OURS"], True),
    ([b"a=caf\xe9; \xff\xfe=1; OURS"], True),
    ([b"a=b\tc; OURS"], True),
    ([b"expires=Wed, 09 Jun 2021 10:18:14 GMT; OURS"], True),
    ([b"$Version=1; OURS; $Path=/"], True),
    ([b"path=/; domain=x; secure; httponly; OURS"], True),
    ([b"a=1", b"OURS"], True),
    ([b"OURS", b"a=1"], True),
    ([b'prefs={"a":1}', b"b=2; OURS", b"c"], True),
    ([b"", b"OURS"], True),
    ([b"a=" + b"x" * 3000 + b"; OURS"], True),
    ([b"sessionid=zzzzzzzzzzzzzzzz; agent_visitor=x:y; OURS"], True),
    ([b"a=1,OURS"], False),
    ([b"a=1 OURS"], False),
    ([b"OURS; sessionid=zzzzzzzzzzzzzzzz; agent_visitor=x:y"], False),
    ([b"OURS", b"sessionid=; agent_visitor="], False),
    ([b'OURS; sessionid="abcdefgh\\000"; agent_visitor="\\000:\\000"'], False),
    ([b""], False),
    ([b"Sessionid=x; xOURS"], False),
]


def scope(*cookies, headers=()):
    plain = [(b"host", HOST), (b"origin", ORIGIN), *headers]
    return {
        "scheme": "ws",
        "headers": [*plain, *((b"cookie", one) for one in cookies)],
        "subprotocols": [],
    }


def over_http(handshake):
    """The caller of a plain request with the same headers, as the site reads it."""
    plain = {"method": "GET", "path": "/", "query_string": b"", "scheme": "http"}
    request = ASGIRequest(authentication.with_one_cookie_header({**handshake, **plain}), BytesIO())
    try:
        return authentication.authenticate_request(request)
    except Unauthenticated:
        return None


async def over_websocket(handshake):
    try:
        return await authentication.authenticate(handshake)
    except Unauthenticated:
        return None


async def both(handshake):
    """The one caller that both edges name."""
    one = await over_websocket(handshake)
    assert await sync_to_async(over_http)(handshake) == one
    return one


def with_ours(cookies, ours):
    return [one.replace(b"OURS", ours) for one in cookies]


@pytest.fixture
async def ann():
    user = await get_user_model().objects.acreate_user("ann")
    client = Client()
    await sync_to_async(client.force_login)(user)
    login = f"sessionid={client.cookies['sessionid'].value}".encode()
    return SimpleNamespace(pk=user.pk, login=login)


@pytest.mark.django_db(transaction=True)
@pytest.mark.database
@pytest.mark.parametrize(("cookies", "counts"), CORPUS)
async def test_both_edges_name_the_same_caller(ann, cookies, counts):
    access = await both(scope(*with_ours(cookies, ann.login)))
    assert (access.actor.user_id == ann.pk) is counts
    access = await both(scope(*with_ours(cookies, VISITOR)))
    assert (access.actor.visitor == "v1") is counts


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "headers",
    [
        [(b"origin", b"http://evil.test")],
        [(b"host", b"evil.test")],
        [(b"authorization", b"Bearer x")],
        [(b"authorization", b"Basic x"), (b"authorization", b"Bearer x")],
        [(b"authorization", b"Bearer x"), (b"authorization", b"Basic x")],
        [(b"authorization", b"bearer\tx")],
        [(b"authorization", b"\xff")],
        [(b"authorization", b"Bearer \xc3\xa9")],
    ],
)
async def test_what_stands_twice_is_read_in_one_way(ann, headers):
    before = scope(ann.login, headers=headers)
    after = {**before, "headers": [*scope(ann.login)["headers"], *headers]}
    for handshake in (before, after):
        await both(handshake)


def read_by_socket(handshake):
    return authentication._handshake(handshake).COOKIES


def read_by_http(handshake):
    plain = {"method": "GET", "path": "/", "query_string": b"", "scheme": "http"}
    return ASGIRequest(
        authentication.with_one_cookie_header({**handshake, **plain}), BytesIO()
    ).COOKIES


ODD = st.one_of(
    st.binary(max_size=12).map(lambda odd: odd.translate(None, b"\r\n\0")),
    st.sampled_from(
        [b"OURS", b"; ", b";", b"=", b'"', b"\\", b"sessionid", b"agent_visitor=", b","]
    ),
)
HEADERS = st.lists(st.lists(ODD, max_size=8).map(b"".join), max_size=3)


def test_no_header_is_read_in_two_ways():
    @settings(max_examples=300, deadline=None, database=None)
    @given(HEADERS)
    def check(cookies):
        handshake = scope(*with_ours(cookies, VISITOR))
        assert read_by_socket(handshake) == read_by_http(handshake)

    check()


# through real servers, whose parsers come before ours

#: More cookies than most servers read in a line.
LONG = [([b"a=" + b"x" * 12_000 + b"; OURS"], True), ([b"a=" + b"x" * 3000, b"OURS"] * 4, True)]


async def reaches_over_http(server, head):
    async with raw(server.port, websocket=False) as one:
        start = b"GET /api/sessions/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        await one.write(start + head + b"\r\n")
        return b" 200 " in await one.reader.readline()


async def reaches_over_websocket(server, head):
    try:
        async with raw(server.port, headers=b"Origin: http://localhost\r\n" + head) as one:
            opcode, payload = await one.read()
    except Dropped as refused:
        return str(refused)[:12]
    assert opcode == TEXT
    return "resume_token" not in json.loads(payload)


@pytest.mark.server
async def test_both_edges_of_a_server_name_the_same_caller(server):
    make(server, people={"odd": {}})
    login = signed_in(server, "odd").http.cookies["sessionid"].encode()
    visitor = visiting(server).cookies["Cookie"].encode()
    found = []
    for cookies, counts in [*CORPUS, *LONG]:
        for ours in (b"sessionid=" + login, visitor):
            lines = (b"Cookie: " + one + b"\r\n" for one in with_ours(cookies, ours))
            head = b"".join(lines)
            reached = [
                await reaches_over_http(server, head),
                await reaches_over_websocket(server, head),
            ]
            if reached != [counts, counts]:
                found.append((head[:100], reached))
    assert found == [], "\n".join(map(str, found))


@pytest.mark.server
async def test_a_cookie_is_no_header(server):
    """Some text readers take other bytes than CR and LF for the end of a line."""
    for end in (b"\x85", b"\x0b", b"\x0c", b"\x1c", b"\xc2\x85", b"\xe2\x80\xa8"):
        head = b"Cookie: a=b" + end + b"Authorization: Bearer x\r\n"
        assert await reaches_over_websocket(server, head) in (False, "HTTP/1.1 400")
