"""Staff delete a session, or a user, in the middle of an answer: nobody hangs, nothing is left."""

import asyncio
from uuid import UUID

import pytest

from tests.support.people import Person, make, signed_in

pytestmark = pytest.mark.timeout(300)

LONG = "mode=slow tokens=4000 delay=0.05"
TABLES = {
    "agent_session": "id = ?",
    "agent_message": "session_id = ?",
    "agent_turn": "session_id = ?",
    "agent_feedback": "message_id IN (SELECT id FROM agent_message WHERE session_id = ?)",
}


@pytest.fixture
def staff(processes):
    one, _ = processes
    make(one, people={"boss": {"is_staff": True, "is_superuser": True}, "ann": {}, "bob": {}})
    person = Person(one)
    assert person.sign_in("boss", path="/admin/login/").status_code == 302
    return person


def rows(server, session):
    session = UUID(session).hex
    return {
        table: server.rows(f"SELECT count(*) FROM {table} WHERE {which}", session)[0][0]
        for table, which in TABLES.items()
    }


async def conversation(server, client):
    """An answered and rated question, one whose answer runs, and one that waits."""
    await client.end(await client.ask("say: an answer"))
    await client.send({"type": "human_feedback", "rating": "up"})
    await client.expect("feedback")
    await client.ask(LONG)
    await client.expect("delta")
    await client.ask("say: never")
    await client.expect("status", status="queued")
    counts = rows(server, client.transcript.session)
    assert counts == {"agent_session": 1, "agent_message": 5, "agent_turn": 3, "agent_feedback": 1}


async def stopped(provider):
    """Wait until the provider's streams have been closed by the one who read them."""
    async with asyncio.timeout(60):
        while any(not (one["ended"] or one["disconnected"]) for one in provider.requests()):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_a_deleted_session_is_told_to_every_tab_and_its_turn_is_stopped(
    processes, staff, provider
):
    one, two = processes
    cookies = signed_in(one, "ann").cookies
    async with one.connect(headers=cookies, origin=one.url) as here:
        await conversation(one, here)
        session = here.transcript.session
        async with two.connect(headers=cookies, origin=two.url, session=session) as there:
            await there.ready()
            address = f"/admin/agent/session/{session}/delete/"
            answer = await asyncio.to_thread(staff.send, address, post="yes")
            assert answer.status_code == 302
            assert (await there.closed())[0] == (await here.closed())[0] == 4404
        await stopped(provider)
    async with one.connect(headers=cookies, origin=one.url, session=session) as again:
        assert (await again.next())["code"] == "not_found"
        assert (await again.closed())[0] == 4404
    assert set(rows(one, session).values()) == {0}
    assert one.rows("SELECT count(*) FROM agent_turn WHERE state <> 'ended'") == [(0,)]


async def test_a_deleted_user_is_signed_out_and_leaves_nothing(processes, staff, provider):
    one, two = processes
    cookies, others = signed_in(one, "ann").cookies, signed_in(one, "bob").cookies
    (ann,) = one.rows("SELECT id FROM auth_user WHERE username = 'ann'")[0]
    async with (
        one.connect(headers=cookies, origin=one.url) as here,
        one.connect(headers=others, origin=one.url) as other,
    ):
        await conversation(one, here)
        await conversation(one, other)
        session = here.transcript.session
        async with two.connect(headers=cookies, origin=two.url, session=session) as there:
            await there.ready()
            address = f"/admin/auth/user/{ann}/delete/"
            answer = await asyncio.to_thread(staff.send, address, post="yes")
            assert answer.status_code == 302
            assert (await there.closed())[0] == (await here.closed())[0] == 4401
        assert set(rows(one, session).values()) == {0}
        assert (await other.command("cancel", all=True))["status"] == "done"
        await stopped(provider)
        assert rows(one, other.transcript.session)["agent_turn"] == 3
