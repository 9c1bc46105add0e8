"""Whatever stands in a Cookie header beside our cookies, both edges name the same caller.

Cookies are shared by all ports of a host and by all paths of a site, so other programs' cookies,
which keep no rules, come along with ours.
"""

from io import BytesIO

from django.core.handlers.asgi import ASGIRequest
from django.core.signing import Signer
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.access import authentication
from agent.access import origin as origin_module

HOST = b"127.0.0.1:8000"
ORIGIN = b"http://" + HOST
VISITOR = f"{authentication.VISITOR_COOKIE}={Signer(salt='agent.visitor').sign('v1')}".encode()


def scope(*cookies, headers=()):
    plain = [(b"host", HOST), (b"origin", ORIGIN), *headers]
    return {
        "scheme": "ws",
        "headers": [*plain, *((b"cookie", one) for one in cookies)],
        "subprotocols": [],
    }


def with_ours(cookies, ours):
    return [one.replace(b"OURS", ours) for one in cookies]


def read_by_socket(handshake):
    return origin_module.handshake_of(handshake).COOKIES


def read_by_http(handshake):
    plain = {"method": "GET", "path": "/", "query_string": b"", "scheme": "http"}
    return ASGIRequest(
        origin_module.with_one_cookie_header({**handshake, **plain}), BytesIO()
    ).COOKIES


ODD = st.one_of(
    st.binary(max_size=12).map(lambda odd: odd.translate(None, b"\r\n\0")),
    st.sampled_from(
        [b"OURS", b"; ", b";", b"=", b'"', b"\\", b"sessionid", b"agent_visitor=", b","]
    ),
)
HEADERS = st.lists(st.lists(ODD, max_size=8).map(b"".join), max_size=3)


def test_no_header_is_read_in_two_ways():
    @settings(max_examples=100, deadline=None, database=None)
    @given(HEADERS)
    def check(cookies):
        handshake = scope(*with_ours(cookies, VISITOR))
        assert read_by_socket(handshake) == read_by_http(handshake)

    check()
