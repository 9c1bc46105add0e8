"""Whatever stands in a Cookie header beside our cookies, both edges name the same caller.

Cookies are shared by all ports of a host and by all paths of a site, so other programs' cookies,
which keep no rules, come along with ours.
"""

from io import BytesIO
from types import SimpleNamespace

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.handlers.asgi import ASGIRequest
from django.core.signing import Signer
from django.test import Client

from agent.access import authentication
from agent.access import origin as origin_module
from agent.errors import Unauthenticated

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
    request = ASGIRequest(origin_module.with_one_cookie_header({**handshake, **plain}), BytesIO())
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
