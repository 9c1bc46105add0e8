"""Who reaches what: every kind of caller, every kind of session, every operation and address.

What a caller may not reach is for it as if it were not there: the same answer, and no trace.
"""

import asyncio
import json
import uuid
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.operations import aimed, operations
from tests.support.people import Person, make, signed_in, visiting, write
from tests.support.servers import Server
from tests.support.urls import addresses

pytestmark = pytest.mark.timeout(300)

#: Who reaches the session of whom; everybody else reaches none of these.
REACHES = {
    "ann's": {"ann", "ann's token"},
    "the visitor's": {"visitor"},
    "nobody's": {"its resume token"},
    "the program's": {"program"},
}
#: Callers with sessions of their own, who reach no other.
STRANGERS = [
    "bob",
    "bob's token",
    "other visitor",
    "nobody",
    "other resume token",
    "other program",
    "staff without permission",
]
REFUSED = {
    "bad token": ("unauthenticated", 4401),
    "bad resume token": ("unauthenticated", 4401),
    "expired token": ("unauthenticated", 4401),
    "revoked token": ("unauthenticated", 4401),
    "token of somebody deactivated": ("unauthenticated", 4401),
    "token without scope": ("forbidden", 4403),
    "bob's token without scope": ("forbidden", 4403),
}
OWNERS = sorted(set().union(*REACHES.values()))
CALLERS = [*OWNERS, *STRANGERS, *REFUSED]


@dataclass
class Theirs:
    """A session, its owner's secret words, and the ids of one question in it."""

    id: str
    secret: str
    ids: dict[str, str]
    token: str


@dataclass
class World:
    server: Server
    callers: dict[str, dict[str, str]] = field(default_factory=dict)
    sessions: dict[str, Theirs] = field(default_factory=dict)

    def connect(self, caller, **options):
        headers = self.callers[caller]
        origin = self.server.url if "Cookie" in headers else None
        return self.server.connect(headers=headers, origin=origin, **options)

    def rows(self):
        """All that is kept of the sessions."""
        keys = [uuid.UUID(each.id).hex for each in self.sessions.values()]
        marks = ",".join("?" * len(keys))
        kept = {}
        for table, of in {"session": "id", "message": "session_id", "turn": "session_id"}.items():
            moving = {"session": ("last_activity_at",)}.get(table, ())
            names = [row[1] for row in self.server.rows(f"PRAGMA table_info(agent_{table})")]
            columns = ", ".join(name for name in names if name not in moving)
            sql = f"SELECT {columns} FROM agent_{table} WHERE {of} IN ({marks}) ORDER BY id"
            kept[table] = self.server.rows(sql, *keys)
        return kept


@pytest.fixture(scope="module")
def world(provider):
    """A server of its own: Django logs who is forbidden something with a traceback."""
    with Server(provider.base_url) as server:
        yield populated(server)


def populated(server):
    world = World(server)
    programs = {
        "ann's token": {"user": "ann"},
        "bob's token": {"user": "bob"},
        "program": {},
        "other program": {},
        "expired token": {},
        "revoked token": {},
        "token of somebody deactivated": {"user": "gone"},
        "token without scope": {"scopes": ["notify"]},
        "bob's token without scope": {"scopes": ["notify"], "user": "bob"},
    }
    people = {"ann": {}, "bob": {}, "gone": {}, "staff": {"is_staff": True}}
    reader = {"reader": {"is_staff": True, "permissions": ["view_session"]}}
    world.callers = make(server, people=people | reader, programs=programs)
    world.callers |= {
        "ann": signed_in(server, "ann").cookies,
        "bob": signed_in(server, "bob").cookies,
        "staff without permission": signed_in(server, "staff").cookies,
        "visitor": visiting(server).cookies,
        "other visitor": visiting(server).cookies,
        "nobody": {},
        "bad token": {"Authorization": f"Bearer awt_{'0' * 12}_{'x' * 43}"},
        "bad resume token": {"Authorization": f"Bearer {uuid.uuid4().hex}.{'x' * 43}"},
    }
    owners = {"ann's": "ann", "the visitor's": "visitor", "the program's": "program"}
    for kind in [*REACHES, "another"]:
        world.sessions[kind] = asyncio.run(talk(world, owners.get(kind, "nobody")))
    for caller, kind in {"its resume token": "nobody's", "other resume token": "another"}.items():
        token = world.sessions[kind].token
        world.callers[caller] = {"Authorization": f"Bearer {token}"}
    change = "UPDATE agent_apitoken SET {} = created_at WHERE name = ?"
    write(server, change.format("expires_at"), "expired token")
    write(server, change.format("revoked_at"), "revoked token")
    write(server, "UPDATE auth_user SET is_active = 0 WHERE username = ?", "gone")
    return world


async def talk(world, caller):
    """A conversation of this caller."""
    secret = f"secret{uuid.uuid4().hex}"
    async with world.connect(caller) as client:
        ref = await client.ask(f"say: {secret}", id=f"ref{uuid.uuid4().hex[:8]}")
        end = await client.end(ref)
        query = client.transcript.queries[0]
        ids = {"turn": end["turn"], "query": query["id"], "response": end["id"], "query_ref": ref}
        return Theirs(client.transcript.session, secret, ids, client.transcript.resume_token)


def test_every_caller_and_session_is_here(world):
    assert set(CALLERS) == world.callers.keys()
    assert world.sessions.keys() == REACHES.keys() | {"another"}


PAIRS = [(caller, kind) for caller in CALLERS for kind in REACHES]


@pytest.mark.parametrize(("caller", "kind"), [p for p in PAIRS if p[0] not in REACHES[p[1]]])
async def test_nobody_else_gets_in_or_changes_anything(world, caller, kind):
    theirs, before = world.sessions[kind], world.rows()
    async with world.connect(caller, session=theirs.id) as client:
        for frame in operations(theirs.ids["turn"]).values():
            with suppress(ConnectionClosed):
                await client.socket.send(json.dumps(frame))  # not waiting for the refusal
        code, close = REFUSED.get(caller, ("not_found", 4404))
        assert (await client.closed())[0] == close
        (error,) = client.frames
        assert (error["type"], error["code"]) == ("error", code)
    async with world.connect(caller, session=str(uuid.uuid4())) as client:
        await client.closed()
        same = ("type", "code", "content", "retryable")
        assert [client.frames[0][name] for name in same] == [error[name] for name in same]
        assert client.frames[0].keys() == error.keys()
    assert world.rows() == before


@pytest.mark.parametrize(("caller", "kind"), [p for p in PAIRS if p[0] in REACHES[p[1]]])
async def test_who_may_does_everything(world, caller, kind):
    theirs = world.sessions[kind]
    for name in operations(""):
        frame = operations(theirs.ids["turn"], ref=uuid.uuid4().hex)[name]
        async with world.connect(caller, session=theirs.id) as client:
            assert (await client.ready())["resumed"]
            assert theirs.secret in json.dumps(client.frames)
            await client.send(frame)
            answer = await client.until(lambda f, ref=frame["id"]: f.get("ref") == ref)
            assert answer["type"] != "error", (name, answer)
            if name in ("query", "retry"):
                turn = answer["turn"]
                await client.until(lambda f, turn=turn: f.get("turn") == turn and "seq" in f)


#: Those with another session to ask from, and the sessions that are not theirs.
ELSEWHERE = [
    (caller, kind)
    for caller in (*OWNERS, *STRANGERS)
    for kind in REACHES
    if caller not in REACHES[kind] and "resume token" not in caller
]


@pytest.mark.parametrize(("caller", "kind"), ELSEWHERE)
async def test_what_is_in_another_session_is_as_unknown_as_what_is_nowhere(world, caller, kind):
    theirs, before = world.sessions[kind], world.rows()
    nowhere = {name: str(uuid.uuid4()) for name in theirs.ids}
    async with world.connect(caller) as client:
        await client.end(await client.ask("say: mine"))
        for name, frame in aimed(**theirs.ids).items():
            answers = []
            for tried in (frame, aimed(**nowhere)[name]):
                await client.send(tried)
                answer = await client.until(lambda f: f.get("ref") == "tried")
                answers.append({key: answer[key] for key in answer if key != "timestamp"})
            assert answers[0]["code"] == "not_found", name
            assert answers[0] == answers[1], name
        page = await client.command("history")
        assert theirs.secret not in json.dumps([page, *client.frames])
    assert world.rows() == before


@pytest.mark.parametrize("caller", [*OWNERS, *STRANGERS, "revoked token", "token without scope"])
def test_no_address_shows_or_changes_what_is_somebody_elses(world, caller):
    """Of every page and endpoint that there is; those of sessions get each session."""
    before = world.rows()
    foreign = [theirs for kind, theirs in world.sessions.items() if not mine(caller, kind)]
    tried = [("GET", address) for address in addresses()]
    for theirs in foreign:
        tried += [("GET", f"/?session={theirs.id}")]
        for address in sorted(set(addresses(theirs.id)) - set(addresses())):
            if theirs is not foreign[0] and "session" not in address:
                continue  # of another kind of row: no session is found there
            is_api = address.startswith("/api/")
            methods = ("GET", "POST", "PATCH", "DELETE") if is_api else ("GET", "POST")
            tried += [(method, address) for method in methods]
    headers = {**world.callers[caller], "Origin": world.server.url, "X-CSRFToken": "x" * 32}
    seen = ""
    with httpx.Client(base_url=world.server.url, headers=headers, timeout=30) as http:
        for method, address in tried:
            answer = http.request(method, address, json=None if method == "GET" else {})
            assert answer.status_code < 500, (method, address)
            seen += answer.text
    assert not [theirs for theirs in foreign if theirs.secret in seen]
    assert world.rows() == before


def mine(caller, kind):
    return caller in REACHES.get(kind, {"other resume token"})


def test_a_transcript_in_the_admin_is_for_those_with_the_permission(world):
    theirs = world.sessions["ann's"]
    address = f"/admin/agent/session/{theirs.id}/change/"
    reader = Person(world.server)
    reader.sign_in("reader", path="/admin/login/")
    page = reader.http.get(address)
    assert page.status_code == 200 and theirs.secret in page.text
    assert reader.http.get(address.replace("change", "delete")).status_code == 403
    staff = httpx.get(world.server.url + address, headers=world.callers["staff without permission"])
    assert staff.status_code == 403 and theirs.secret not in staff.text
    for caller in CALLERS:
        if caller != "staff without permission":
            answer = httpx.get(world.server.url + address, headers=world.callers[caller])
            assert answer.status_code == 302, caller
