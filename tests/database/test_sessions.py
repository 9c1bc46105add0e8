"""Sessions: who reaches them, what is replayed, when they close and when they are deleted."""

import json
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone

from agent.access import api_tokens
from agent.actions import handles, notifications, queries, retention, sessions
from agent.actions.handles import SessionHandle
from agent.actor import Actor
from agent.errors import NotFound, SessionGone, TooLarge
from agent.live.publish import Live
from agent.models import Feedback, Message, Session, Turn
from agent.protocol import client_frames
from agent.store import replay, turn_queue
from agent.store.turn_queue import Lease, Outcome

pytestmark = pytest.mark.django_db(transaction=True)
HERE = Lease("here", 15)


def ask(handle, content="hi", lease=None, **fields):
    query = client_frames.Query(type="query", content=content, **fields)
    with transaction.atomic():
        done = queries._accept(handle, query, 20, lease)
    handle._stored = True
    return done


def exchange(handle, content="hi", text="done"):
    done = ask(handle, content, HERE)
    with transaction.atomic():
        turn_queue.finish(done.claimed, Outcome(text, "stop"))
    return done


def stored(actor=None):
    handle = SessionHandle(Live(), uuid4(), actor or Actor(visitor="v"), stored=False)
    exchange(handle)
    return handle


def idle_since(handle, **ago):
    moment = timezone.now() - timedelta(**ago)
    Session.objects.filter(id=handle.id).update(last_activity_at=moment)


def clear_expired(**options):
    out = StringIO()
    call_command("clear_expired_sessions", format="json", stdout=out, **options)
    return json.loads(out.getvalue())


# who reaches what


class Held:
    """A connection of a session without a row."""

    def __init__(self, handle):
        self._handle = handle
        handle.topic.subscribers.add(self)

    def owner_without_row(self):
        return self._handle.actor


async def test_a_new_session_has_no_row_and_is_reached_while_it_is_held():
    live = Live()
    handle = await handles.open_session(live, Actor(visitor="v"), "")
    Held(handle)
    assert not await Session.objects.aexists()
    again = await handles.open_session(live, Actor(visitor="v"), str(handle.id))
    assert again.topic is handle.topic
    for other in (Actor(visitor="w"), Actor(), Actor(user_id=1), Actor(session_id=handle.id)):
        with pytest.raises(NotFound):
            await handles.open_session(live, other, str(handle.id))
    session_id = str(handle.id)
    handle.topic.subscribers.clear()  # its only connection ended
    with pytest.raises(NotFound):
        await handles.open_session(live, Actor(visitor="v"), session_id)


async def test_nobody_reaches_its_session_with_its_token_only():
    live = Live()
    handle = await handles.open_session(live, Actor(), "")
    Held(handle)
    assert handle.actor == Actor(session_id=handle.id)
    again = await handles.open_session(live, Actor(session_id=handle.id), str(handle.id))
    assert again.topic is handle.topic


@pytest.mark.parametrize("row", ["user", "token", "visitor", "nobody"])
def test_a_stored_session_is_reached_by_its_owner_alone(row):
    user, other = (get_user_model().objects.create_user(name) for name in ("ann", "bob"))
    token, of_user = (
        api_tokens.create("own", ["chat"])[0],
        api_tokens.create("ann's", ["chat"], user=user)[0],
    )
    handle = SessionHandle(Live(), uuid4(), Actor(), stored=False)
    actors = {
        "user": Actor(user_id=user.pk),
        "token": Actor(token_id=token.pk),
        "visitor": Actor(visitor="v"),
        "nobody": Actor(session_id=handle.id),
    }
    handle.actor = actors[row]
    ask(handle)
    strangers = [
        Actor(),
        Actor(user_id=other.pk),
        Actor(token_id=of_user.pk),
        Actor(visitor="w"),
        Actor(session_id=uuid4()),
        *(actor for name, actor in actors.items() if name != row),
    ]
    assert Session.objects.reachable_by(actors[row]).get().id == handle.id
    for stranger in strangers:
        assert not Session.objects.reachable_by(stranger).exists()


async def test_unknown_malformed_and_foreign_ids_get_the_same_answer():
    def foreign():
        return stored(Actor(visitor="w"))

    handle = await sessions.db.transact(foreign)
    words = set()
    for session_id in (str(handle.id), str(uuid4()), "nonsense", "' OR 1=1 --"):
        with pytest.raises(NotFound) as caught:
            await handles.open_session(Live(), Actor(visitor="v"), session_id)
        words.add(caught.value.message)
    assert len(words) == 1


# looking and replaying


async def test_the_view_lists_unfinished_turns_with_positions():
    def fill():
        handle = SessionHandle(Live(), uuid4(), Actor(visitor="v"), stored=False)
        exchange(handle)
        return handle, ask(handle, lease=HERE, id="q2"), ask(handle, id="q3"), ask(handle)

    handle, running, second, third = await sessions.db.transact(fill)
    view = await sessions.snapshot(handle)
    assert view.last_seq == 5
    assert view.running.id == running.turn_id
    assert view.turns == [
        {"turn": str(running.turn_id), "ref": "q2", "state": "running", "position": 0},
        {"turn": str(second.turn_id), "ref": "q3", "state": "queued", "position": 1},
        {"turn": str(third.turn_id), "state": "queued", "position": 2},
    ]


async def test_frames_come_in_pages_and_history_from_the_end():
    def fill():
        handle = SessionHandle(Live(), uuid4(), Actor(visitor="v"), stored=False)
        for n in range(120):
            exchange(handle, str(n))
        return handle

    handle = await sessions.db.transact(fill)
    seqs, cursor = [], 0
    while page := await sessions.frames_after(handle.id, cursor):
        seqs += [frame["seq"] for frame in page]
        cursor = seqs[-1]
    assert seqs == list(range(1, 241))
    frames, more = await sessions.history(handle, None, 3)
    assert ([f["seq"] for f in frames], more) == ([238, 239, 240], True)
    frames, more = await sessions.history(handle, 3, 100)
    assert ([f["seq"] for f in frames], more) == ([1, 2], False)


async def test_rename_clear_and_feedback_are_durable_notes_of_the_session():
    handle = await sessions.db.transact(stored)
    await sessions.rename(handle, "Weather")
    await sessions.clear(handle)
    await sessions.give_feedback(
        handle, client_frames.HumanFeedback(type="human_feedback", rating="up", content="nice")
    )
    frames = await sessions.frames_after(handle.id, 2)
    assert [(f["seq"], f.get("event", f["type"])) for f in frames] == [
        (3, "renamed"),
        (4, "cleared"),
        (5, "feedback"),
    ]
    session = await Session.objects.aget()
    assert (session.title, session.cleared_seq) == ("Weather", 4)
    response = await Message.objects.aget(type="response")
    assert frames[2]["target"] == str(response.id)


async def test_feedback_is_one_per_caller_can_change_and_be_withdrawn():
    handle = await sessions.db.transact(stored)
    other = SessionHandle(Live(), handle.id, Actor(user_id=7), stored=True)

    def feedback(rating):
        return client_frames.HumanFeedback(type="human_feedback", rating=rating)

    await sessions.give_feedback(handle, feedback("up"))
    await sessions.give_feedback(other, feedback("up"))
    await sessions.give_feedback(handle, feedback("down"))
    ratings = {row.caller: row.rating async for row in Feedback.objects.all()}
    assert ratings == {"visitor:v": "down", "user:7": "up"}
    await sessions.give_feedback(handle, feedback(None))
    assert [row.caller async for row in Feedback.objects.all()] == ["user:7"]


async def test_feedback_on_what_is_no_response_here_is_not_found():
    handle = await sessions.db.transact(stored)
    other = await sessions.db.transact(stored)
    query = await Message.objects.aget(session_id=handle.id, type="query")
    foreign = await Message.objects.aget(session_id=other.id, type="response")
    for target in (str(query.id), str(foreign.id), str(uuid4()), "nonsense"):
        with pytest.raises(NotFound):
            await sessions.give_feedback(
                handle,
                client_frames.HumanFeedback(type="human_feedback", rating="up", target=target),
            )


async def test_a_deleted_session_is_told_as_such():
    handle = await sessions.db.transact(stored)
    await Session.objects.all().adelete()
    with pytest.raises(SessionGone):
        await sessions.snapshot(handle)
    with pytest.raises(SessionGone):
        await sessions.rename(handle, "x")


# closing and deleting


def test_an_idle_session_is_closed_once(settings):
    handle = stored()
    assert clear_expired()["closed"] == 0
    idle_since(handle, minutes=31)
    assert clear_expired() == {"closed": 1, "deleted": 0, "dry_run": False}
    assert clear_expired()["closed"] == 0
    frame = Message.objects.get(seq=3).frame()
    assert (frame["event"], frame["content"]) == ("closed", "Session closed due to inactivity")


def test_a_session_with_an_unfinished_turn_is_neither_closed_nor_deleted():
    handle = stored()
    ask(handle)
    idle_since(handle, days=99)
    assert clear_expired() == {"closed": 0, "deleted": 0, "dry_run": False}


def test_a_session_is_not_idle_while_a_turn_is_unfinished_nor_the_moment_it_ends():
    handle = stored()
    done = ask(handle, lease=HERE)
    idle_since(handle, minutes=31)
    with transaction.atomic():
        turn_queue.finish(done.claimed, Outcome("at last", "stop"))
    assert clear_expired()["closed"] == 0


@pytest.mark.parametrize("running", [True, False])
def test_a_session_is_closed_from_the_moment_that_it_is_closed_in(running):
    handle = stored()
    done = ask(handle, lease=HERE if running else None)
    with transaction.atomic():
        queries._close(handle)
        if running:
            turn_queue.finish(done.claimed, Outcome("", "cancelled"))
    assert Message.objects.last().data["event"] == "closed"
    idle_since_then = retention.idle(1e-9, [handle.id])  # minutes
    assert not idle_since_then.exists()


def test_a_session_that_is_used_meanwhile_is_left_alone():
    handle = stored()
    idle_since(handle, days=99)
    ids = [handle.id]
    ask(handle)
    assert retention.delete_expired(ids, 30) == 0
    with transaction.atomic():
        assert retention.close_idle(handle.id, 30) is None


def test_old_sessions_are_deleted_with_all_that_belongs_to_them():
    old, young = stored(), stored()
    Feedback.objects.create(message=Message.objects.filter(session_id=old.id)[1], caller="x")
    idle_since(old, days=31)
    assert clear_expired(dry_run=True) == {"closed": 0, "deleted": 1, "dry_run": True}
    assert clear_expired()["deleted"] == 1
    assert [session.id for session in Session.objects.all()] == [young.id]
    assert set(Message.objects.values_list("session_id", flat=True)) == {young.id}
    assert set(Turn.objects.values_list("session_id", flat=True)) == {young.id}
    assert not Feedback.objects.exists()


def test_small_batches_reach_every_session():
    moment = timezone.now() - timedelta(days=40)
    handle = [stored() for _ in range(7)]
    Session.objects.update(last_activity_at=moment)  # all at the same moment
    assert clear_expired(batch_size=2)["deleted"] == len(handle)
    assert not Session.objects.exists()


def test_retention_can_be_given_for_one_run():
    idle_since(stored(), days=3)
    assert clear_expired(retention_days=2.5)["deleted"] == 1


@pytest.mark.parametrize("days", [-1, float("nan"), float("inf"), 1e9])
def test_a_retention_that_makes_no_sense_deletes_nothing(days):
    stored()
    with pytest.raises(CommandError, match="--retention-days"):
        clear_expired(retention_days=days)
    assert Session.objects.count() == 1


@pytest.mark.django_db
async def test_a_look_that_the_first_query_overtakes_does_not_take_the_session_for_deleted(
    monkeypatch,
):
    handle = SessionHandle(Live(), uuid4(), Actor(visitor="v"), stored=False)

    def overtaken(session_id):
        found = replay.snapshot(session_id)  # it saw no row
        handle.topic.advance_to(1)  # and then the row was there, and known
        return found

    monkeypatch.setattr(sessions, "replay", SimpleNamespace(snapshot=overtaken))
    assert (await sessions.snapshot(handle)).last_seq == 0
    assert handle.stored


# what adds no row


async def test_the_same_title_again_is_no_message():
    handle = await sync_to_async(stored)()
    await sessions.rename(handle, "Reports")
    rows = await Message.objects.filter(session=handle.id).acount()
    for _ in range(3):
        await sessions.rename(handle, "Reports")
    assert await Message.objects.filter(session=handle.id).acount() == rows
    assert (await Session.objects.aget(id=handle.id)).last_seq == rows
    await sessions.rename(handle, "Other")
    assert await Message.objects.filter(session=handle.id).acount() == rows + 1


async def test_forgetting_what_is_forgotten_is_no_message():
    handle = await sync_to_async(stored)()
    await sessions.clear(handle)
    rows = await Message.objects.filter(session=handle.id).acount()
    await sessions.clear(handle)
    assert await Message.objects.filter(session=handle.id).acount() == rows
    await sync_to_async(exchange)(handle)
    await sessions.clear(handle)
    assert await Message.objects.filter(session=handle.id).acount() == rows + 3


@pytest.mark.parametrize("judged", [{"rating": "up"}, {"rating": "up", "content": "good"}])
async def test_the_same_judgement_again_is_answered_and_is_no_message(judged):
    handle = await sync_to_async(stored)()

    async def judge(**fields):
        feedback = client_frames.HumanFeedback(type="human_feedback", id="f", **fields)
        answer = await sessions.give_feedback(handle, feedback)
        return answer.frame() if answer else None, await Message.objects.acount()

    answer, rows = await judge(**judged)
    assert answer is None, "every connection gets it"
    answer, same = await judge(**judged)
    assert same == rows
    assert (answer["type"], answer["ref"], answer["rating"]) == ("feedback", "f", "up")
    assert "seq" not in answer
    assert (await judge(rating=None))[1] == rows + 1
    answer, same = await judge(rating=None)
    assert answer["rating"] is None and same == rows + 1


async def test_a_full_session_takes_no_more_from_callers_and_all_from_the_server(settings):
    handle = await sync_to_async(stored)()
    settings.AGENT = {**settings.AGENT, "max_session_messages": 3}
    done = await sync_to_async(ask)(handle, "third", HERE, id="third")
    feedback = client_frames.HumanFeedback(type="human_feedback", rating="up")
    for refused in (
        sessions.rename(handle, "x"),
        sessions.clear(handle),
        sessions.give_feedback(handle, feedback),
        sync_to_async(ask)(handle, "fourth"),
        notifications.notify(
            Live(), str(handle.id), notifications.Notice(content="x"), of_user=None
        ),
    ):
        with pytest.raises(TooLarge, match="Start a new chat"):
            await refused
    assert (await sync_to_async(ask)(handle, "third", id="third")).turn_id == done.turn_id

    def end():
        with transaction.atomic():
            return turn_queue.finish(done.claimed, Outcome("done", "stop"))

    assert await sync_to_async(end)()
    assert (await Session.objects.aget(id=handle.id)).last_seq == 4
