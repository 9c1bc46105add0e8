"""Deletion of large sessions: unreachable at once, removed in small transactions, by anybody."""

import json
from io import StringIO
from uuid import uuid4

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, transaction
from django.db.models.functions import Now

from agent.access import api_tokens
from agent.actions import handles, notifications, retention, sessions
from agent.actions.handles import SessionHandle, lock_or_create
from agent.actions.notifications import Notice
from agent.actor import Actor
from agent.errors import NotFound, SessionGone
from agent.live.publish import Live
from agent.models import ApiToken, Feedback, Message, Session, Turn
from agent.store import db, removal, replay, turn_queue
from agent.store.turn_queue import Lease
from agent.worker import maintenance
from tests.database.test_sessions import ask, exchange, idle_since, stored

pytestmark = pytest.mark.django_db(transaction=True)

LARGE = 30_000
_COUNT = {
    "postgresql": "SELECT generate_series(1, %s) AS n",
    "sqlite": "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < %s)"
    " SELECT n FROM c",
}
_ID = {"postgresql": "gen_random_uuid()", "sqlite": "lower(hex(randomblob(16)))"}


def large(rows=LARGE, actor=None):
    """A session of so many messages, of which each second one answers the one before."""
    handle = stored(actor)
    key = Session._meta.pk.get_db_prep_value(handle.id, connection)
    numbers = _COUNT[connection.vendor]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO agent_message (id, session_id, seq, type, content, partial, data,"
            f" created_at) SELECT {_ID[connection.vendor]}, %s, n + 2,"
            " CASE n %% 2 WHEN 1 THEN 'query' ELSE 'response' END, 'words', '', '{}',"
            f" CURRENT_TIMESTAMP FROM ({numbers}) AS numbers",
            [key, rows],
        )
        cursor.execute(
            "INSERT INTO agent_turn (id, session_id, query_id, number, ref, priority, state,"
            " started_before, attempt, handed_back, worker, stop, finish_reason, error_code, model)"
            f" SELECT {_ID[connection.vendor]}, %s, id, seq, '', 1, 'ended', 0, 1, 0, '', '',"
            " 'stop', '', '' FROM agent_message"
            " WHERE session_id = %s AND seq > 2 AND type = 'query'",
            [key, key],
        )
        cursor.execute(
            "UPDATE agent_message SET turn_id = (SELECT id FROM agent_turn t WHERE"
            " t.session_id = %s AND t.number = agent_message.seq - 1 + agent_message.seq %% 2)"
            " WHERE session_id = %s AND seq > 2",
            [key, key],
        )
    Session.objects.filter(id=handle.id).update(last_seq=rows + 2, enqueued=rows // 2 + 1)
    assert Message.objects.filter(session=handle.id, turn=None).count() == 0
    return handle


def left():
    tables = (Session.with_deleted, Message.objects, Turn.objects, Feedback.objects)
    return [table.count() for table in tables]


def remove(remover=None, steps=10_000):
    remover = remover or removal.Remover()
    for _ in range(steps):
        if not remover.step():
            break
    return remover


async def test_a_large_session_is_gone_at_once_and_its_rows_in_small_transactions():
    handle, other = await db.transact(large), await db.transact(stored)
    running = await db.transact(ask, other, lease=Lease("here", 60))
    await retention.delete_now(Live(), handle.id)
    assert not await Session.objects.filter(id=handle.id).aexists()
    assert await Message.objects.filter(session=handle.id).aexists()
    changed = []

    def counted(execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if sql.startswith(("DELETE", "UPDATE")):
            changed.append(context["cursor"].rowcount)
        return result

    def watched():
        with connection.execute_wrapper(counted):
            return remover.step()

    remover = removal.Remover()
    while await db.apart(watched):
        await db.transact(ask, other)  # somebody else's, between any two steps
        if len(changed) % 10 == 0:
            await db.transact(turn_queue.renew, Lease("here", 60), {running.turn_id: 1})
        await Turn.objects.filter(session=other.id, state="queued").adelete()
    assert max(changed) <= removal._MOST_ROWS
    assert not await Message.objects.filter(session=handle.id).aexists()
    assert not await Turn.objects.filter(session=handle.id).aexists()
    assert await Session.with_deleted.acount() == 1
    assert (await Turn.objects.aget(id=running.turn_id)).attempt == 1


def test_a_removal_that_broke_off_in_the_middle_is_finished_by_somebody_else():
    handle = large(5_000)
    Feedback.objects.create(message=Message.objects.filter(session=handle.id).last(), caller="x")
    retention.delete(Session.objects.filter(id=handle.id))
    for _ in range(7):  # as many processes, each of which is killed after some steps
        remove(steps=3)
    assert 0 < Message.objects.count() < 5_000
    remove()
    assert left() == [0, 0, 0, 0]


@pytest.mark.parametrize("graph", ["retries", "one turn for all", "queries without a turn"])
def test_whatever_refers_to_what_a_session_is_removed(graph, monkeypatch):
    monkeypatch.setattr(removal, "_FIRST_ROWS", 2)
    monkeypatch.setattr(removal, "_LEAST_ROWS", 2)
    monkeypatch.setattr(removal, "_MOST_ROWS", 2)
    handle = stored()
    for _ in range(5):
        exchange(handle)
    first, *others = Turn.objects.filter(session=handle.id).order_by("number")
    match graph:
        case "retries":
            Turn.objects.exclude(id=first.id).update(retry_of=first, query=first.query)
        case "one turn for all":
            Message.objects.filter(type="query").update(turn=others[-1])
        case _:
            Message.objects.update(turn=None)
    retention.delete(Session.objects.filter(id=handle.id))
    remove()
    assert left() == [0, 0, 0, 0]


async def test_no_lookup_finds_a_session_whose_rows_are_still_there():
    token, _ = await db.transact(api_tokens.create, "t", ["chat"])
    user = await get_user_model().objects.acreate(username="ann")
    actors = [Actor(visitor="v"), Actor(user_id=user.pk), Actor(token_id=token.pk)]
    for actor in actors:
        handle = await db.transact(stored, actor)
        running = await db.transact(ask, handle, lease=Lease("here", 60))
        waiting = await db.transact(ask, handle)
        await db.transact(retention.delete, Session.objects.filter(id=handle.id))
        for look in (handles.open_session, handles.find):
            with pytest.raises(NotFound):
                await look(Live(), actor, str(handle.id))
        with pytest.raises(NotFound):
            await handles.find(Live(), Actor(session_id=handle.id), str(handle.id))
        with pytest.raises(SessionGone):
            await sessions.snapshot(handle)
        with pytest.raises(SessionGone):
            await db.transact(lock_or_create, handle, messages=1)
        # of a connection that saw no row yet
        unaware = SessionHandle(Live(), handle.id, actor, stored=False)
        with pytest.raises(SessionGone):
            await db.transact(lock_or_create, unaware, messages=1)
        with pytest.raises(NotFound):
            await notifications.notify(Live(), str(handle.id), Notice(content="hi"), of_user=None)
        assert await db.read(replay.after, handle.id, 0) == []
        assert await db.read(replay.before, handle.id, None, 10) == ([], False)
        assert await db.read(turn_queue.due, 10) == []
        assert (
            await db.transact(turn_queue.finish, running.claimed, turn_queue.Outcome("x", "stop"))
            is None
        )
        kept = await db.transact(turn_queue.renew, Lease("here", 60), {running.turn_id: 1})
        assert kept == {}
        assert set((await db.read(turn_queue.count_unfinished)).values()) == {0}
        assert await db.read(maintenance._deleted, [handle.id]) == {handle.id}
        assert waiting.turn_id


def test_nothing_of_a_deleted_session_names_its_owner():
    handle = stored()
    Session.objects.filter(id=handle.id).update(title="secret")
    retention.delete(Session.objects.filter(id=handle.id))
    row = Session.with_deleted.get()
    assert (row.owner, row.token, row.visitor, row.title) == (None, None, "", "")


@pytest.mark.parametrize("whose", ["user", "token"])
def test_whoever_deletes_an_account_or_a_token_deletes_its_sessions_and_loads_none(whose):
    user = get_user_model().objects.create(username="ann")
    token, _ = api_tokens.create("t", ["chat"])
    handle = large(2_000, Actor(user_id=user.pk) if whose == "user" else Actor(token_id=token.pk))
    ask(handle, lease=Lease("here", 60))
    statements = []

    def watched(execute, sql, *arguments):
        statements.append(sql)
        return execute(sql, *arguments)

    with connection.execute_wrapper(watched):
        (user if whose == "user" else token).delete()
    assert not [sql for sql in statements if sql.startswith("SELECT") and '"content"' in sql]
    assert not Session.objects.exists()
    assert not Turn.objects.exclude(state="ended").exists()
    remove()
    assert left() == [0, 0, 0, 0]


def test_an_account_of_many_sessions_is_deleted_some_at_a_time():
    user = get_user_model().objects.create(username="ann")
    own, _ = api_tokens.create("own", ["chat"], user=user)
    Session.objects.bulk_create(Session(id=uuid4(), owner=user) for _ in range(2_000))
    changed = []

    def watched(execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        changed.append(context["cursor"].rowcount)
        return result

    with connection.execute_wrapper(watched):
        retention.delete_account(user)
    assert max(changed) <= retention._AT_ONCE
    assert not ApiToken.objects.filter(id=own.pk).exists()
    assert not get_user_model().objects.exists()
    remove()
    assert left() == [0, 0, 0, 0]


# the command


def clear(**options):
    out = StringIO()
    call_command("clear_expired_sessions", format="json", stdout=out, **options)
    return json.loads(out.getvalue())


def test_the_command_deletes_a_large_session_and_finishes_what_others_began():
    idle_since(large(3_000), days=40)
    retention.delete(Session.objects.filter(id=stored().id))
    assert clear()["deleted"] == 1
    assert left() == [0, 0, 0, 0]


def test_a_session_that_fails_does_not_hold_up_the_others(monkeypatch):
    bad, *good = [stored() for _ in range(4)]
    for place, handle in enumerate([bad, *good]):
        idle_since(handle, days=90 - place)  # the bad one is the oldest
    key = Session._meta.pk.get_db_prep_value(bad.id, connection)

    def failing(execute, sql, params, many, context):
        if sql.startswith("UPDATE") and '"deleted_at" =' in sql and key in (params or ()):
            raise OperationalError("somebody is in the way")
        return execute(sql, params, many, context)

    out = StringIO()
    with connection.execute_wrapper(failing), pytest.raises(CommandError, match="1 sessions"):
        call_command("clear_expired_sessions", format="json", stdout=out)
    assert json.loads(out.getvalue())["deleted"] == 3
    assert [row.id for row in Session.objects.all()] == [bad.id]
    assert clear()["deleted"] == 1


def test_rows_that_cannot_be_removed_do_not_hold_up_the_others(monkeypatch):
    bad, good = stored(), stored()
    for handle in (bad, good):
        retention.delete(Session.objects.filter(id=handle.id))
    Session.with_deleted.filter(id=bad.id).update(deleted_at=Now())
    remove_whole = removal.Remover._remove_whole

    def failing(self, keys):
        if bad.id in keys:
            raise ValueError
        remove_whole(self, keys)

    monkeypatch.setattr(removal.Remover, "_remove_whole", failing)
    monkeypatch.setattr(removal, "_SESSIONS", 1)
    with pytest.raises(CommandError, match="1 sessions"):
        clear()
    assert [row.id for row in Session.with_deleted.all()] == [bad.id]
