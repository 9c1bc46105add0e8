"""What a caller showed is looked at for as long as its connection stands, in every process."""

import asyncio
import time
from contextlib import AsyncExitStack
from uuid import UUID

import pytest

from .operations import operations
from .people import make, run, signed_in, visiting, write

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]
pytest_plugins = ["tests.servers"]

LONG = "mode=slow tokens=4000 delay=0.05"
ENDS = """\
from datetime import timedelta
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session as Login
from django.core.management import call_command
from django.utils import timezone
from agent.models import ApiToken
User.objects.filter(username="deactivated").update(is_active=False)
changed = User.objects.get(username="changed")
changed.set_password("another one")
changed.save()
User.objects.get(username="deleted").delete()
Login.objects.filter(pk={login!r}).update(expire_date=timezone.now())
call_command("agent_token", "revoke", "revoked")
ApiToken.objects.filter(name="expired").update(expires_at=timezone.now() - timedelta(seconds=1))
"""


@pytest.fixture
async def connected(processes):
    """Opens sockets of a caller, one on each process, each with a running answer."""
    async with AsyncExitStack() as stack:

        async def connect(headers):
            clients = []
            for server in processes:
                connecting = server.connect(headers=headers, origin=server.url)
                client = await stack.enter_async_context(connecting)
                await client.ask(LONG)
                await client.expect("delta")
                clients.append(client)
            return clients

        yield connect


async def test_what_ended_has_no_connection_left_in_any_process(processes, connected):
    one, _ = processes
    names = ["out", "late", "deactivated", "changed", "deleted", "stays"]
    programs = {f"of {user}": {"user": user} for user in ("deactivated", "deleted", "stays")}
    bearers = make(
        one,
        people={name: {} for name in names},
        programs={"revoked": {}, "expired": {}, "stays, too": {}, **programs},
    )
    people = {name: signed_in(one, name) for name in names}
    callers = bearers | {name: person.cookies for name, person in people.items()}
    callers |= {"visitor stays": visiting(one).cookies, "nobody stays": {}}
    clients = {name: await connected(headers) for name, headers in callers.items()}

    login = people["late"].http.cookies["sessionid"]
    await asyncio.to_thread(run, one, ENDS.format(login=login))
    assert people["out"].send("/logout/").status_code == 302
    began = time.monotonic()

    ended = [name for name in callers if "stays" not in name]
    for name in ended:
        for client in clients[name]:
            assert (await client.closed())[0] == 4401, name
    print(f"all closed {time.monotonic() - began:.1f} s after the last of them ended")
    for name in callers.keys() - ended:
        for client in clients[name]:
            assert (await client.command("help"))["status"] == "done"
    for name in ended:
        headers = callers[name]
        async with one.connect(headers=headers, origin=one.url) as again:
            if "Authorization" in headers:
                assert (await again.closed())[0] == 4401
            else:  # a login that does not count is none; here visitors may come
                assert (await again.ready())["resumed"] is False


@pytest.fixture
async def holders(server):
    """For each operation a connection of one token, with an answer; by the operation's name."""
    (headers,) = make(server, programs={"ends": {}}).values()
    async with AsyncExitStack() as stack:
        clients = {}
        for kind in operations(""):
            client = await stack.enter_async_context(server.connect(headers=headers))
            await client.end(await client.ask("say: kept"))
            client.before = len(client.frames)
            clients[kind] = client
        yield clients


async def test_an_operation_after_the_end_is_refused_and_not_carried_out(server, holders):
    """Sent as soon as the row says so, long before anybody looks at all connections."""
    clients = holders
    sessions = [UUID(client.transcript.session).hex for client in clients.values()]
    marks = ",".join("?" * len(sessions))

    def rows():
        kept = "SELECT id, title, last_seq, enqueued, cleared_seq, closing, closed_at FROM"
        return server.rows(f"{kept} agent_session WHERE id IN ({marks}) ORDER BY id", *sessions)

    before = rows()
    write(
        server,
        "UPDATE agent_apitoken SET revoked_at = created_at WHERE name = ?",
        "ends",
    )
    for kind, client in clients.items():
        turn = client.transcript.queries[0]["turn"]
        await client.send(operations(turn, ref="late")[kind])
    refused = 0
    for kind, client in clients.items():
        assert (await client.closed())[0] == 4401, kind
        answers = [f for f in client.frames[client.before :] if f["type"] != "ping"]
        assert [(f["type"], f["code"], f["ref"]) for f in answers] in (
            [("error", "unauthenticated", "late")],
            [],  # the look at all connections came first
        ), (kind, answers)
        refused += len(answers)
    assert refused
    assert rows() == before
