"""Whatever stands in a Cookie header beside our cookies, both edges name the same caller.

Cookies are shared by all ports of a host and by all paths of a site, so other programs' cookies,
which keep no rules, come along with ours.
"""

import json

from tests.support.people import make, signed_in, visiting
from tests.support.raw import TEXT, Dropped, raw

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


def with_ours(cookies, ours):
    return [one.replace(b"OURS", ours) for one in cookies]


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


async def test_a_cookie_is_no_header(server):
    """Some text readers take other bytes than CR and LF for the end of a line."""
    for end in (b"\x85", b"\x0b", b"\x0c", b"\x1c", b"\xc2\x85", b"\xe2\x80\xa8"):
        head = b"Cookie: a=b" + end + b"Authorization: Bearer x\r\n"
        assert await reaches_over_websocket(server, head) in (False, "HTTP/1.1 400")
