"""Asking and stopping: what is accepted is kept, an id runs once, a cancel ends what it names."""

from uuid import uuid4

import pytest
from django.db import transaction

from agent.actions import queries
from agent.actions.handles import SessionHandle
from agent.actor import Actor
from agent.errors import Busy, Conflict, NotFound, QueueFull, SessionGone
from agent.live.publish import Live
from agent.models import Message, Session, Turn
from agent.protocol import client_frames
from agent.store import turn_queue
from agent.store.sequence import Change, Stop
from agent.store.turn_queue import Lease, Outcome

pytestmark = pytest.mark.django_db(transaction=True)
HERE = Lease("here", 15)


@pytest.fixture
def handle():
    return SessionHandle(Live(), uuid4(), Actor(visitor="v"), stored=False)


def ask(handle, content="hi", lease=None, max_queue=20, **fields):
    query = client_frames.Query(type="query", content=content, **fields)
    with transaction.atomic():
        done = queries._accept(handle, query, max_queue, lease)
    handle._stored = True
    return done


def answer(done, text="done"):
    with transaction.atomic():
        turn_queue.finish(done.claimed, Outcome(text, "stop"))


def cancel(handle, **args):
    with transaction.atomic():
        return queries._cancel(handle, client_frames.Cancel(**args))


def retry(handle, turn_id, client_id=None, lease=None):
    with transaction.atomic():
        return queries._retry(handle, client_frames.Retry(turn=str(turn_id)), client_id, 20, lease)


def last_seq(handle):
    return Session.objects.get(id=handle.id).last_seq


def test_the_first_query_writes_the_session_with_its_owner(handle):
    done = ask(handle, id="q1")
    session = Session.objects.get()
    assert (session.id, session.visitor, session.owner) == (handle.id, "v", None)
    [frame] = done.change.frames
    assert frame == Message.objects.get().frame()
    assert (frame["seq"], frame["ref"], frame["turn"]) == (1, "q1", str(done.turn_id))


def test_the_same_id_with_the_same_content_is_the_same_turn(handle):
    first, again = ask(handle, id="q1", lease=HERE), ask(handle, id="q1", lease=HERE)
    assert (again.turn_id, again.seq, again.state) == (first.turn_id, 1, "running")
    assert again.change is None
    assert again.claimed is None
    answer(first)
    assert ask(handle, id="q1").state == "ended"
    assert (Turn.objects.count(), last_seq(handle)) == (1, 2)


def test_the_same_id_with_another_content_or_target_is_a_conflict(handle):
    first = ask(handle, id="q1")
    with pytest.raises(Conflict):
        ask(handle, "other", id="q1")
    with pytest.raises(Conflict):
        ask(handle, id="q1", replaces=first.change.frames[0]["id"])
    assert (Turn.objects.count(), last_seq(handle)) == (1, 1)


def test_ids_of_other_sessions_are_free(handle):
    ask(handle, id="q1")
    ask(SessionHandle(Live(), uuid4(), Actor(visitor="w"), stored=False), "other", id="q1")
    assert Turn.objects.count() == 2


def test_reject_is_busy_while_a_turn_runs_or_waits_and_leaves_its_id_free(handle):
    first = ask(handle, lease=HERE)
    with pytest.raises(Busy):
        ask(handle, id="q2", on_busy="reject")
    answer(first)
    assert ask(handle, id="q2", on_busy="reject").change


def test_a_full_queue_refuses_and_leaves_the_id_free(handle):
    first = ask(handle, lease=HERE, max_queue=1)
    ask(handle, max_queue=1)
    with pytest.raises(QueueFull):
        ask(handle, id="q3", max_queue=1)
    answer(first)
    with transaction.atomic():
        turn_queue.claim(handle.id, HERE)
    assert ask(handle, id="q3", max_queue=1).change


def test_an_interrupt_asks_the_running_turn_to_stop_and_goes_first(handle):
    running, waiting = ask(handle, lease=HERE), ask(handle, priority="high")
    urgent = ask(handle, on_busy="interrupt")
    later = ask(handle, on_busy="interrupt")
    assert urgent.change.stops == [Stop(running.turn_id, "here", "interrupted")]
    assert later.change.stops == []
    answer(running)
    order = []
    with transaction.atomic():
        for _ in range(3):
            claimed, _ = turn_queue.claim(handle.id, HERE)
            order.append(claimed.turn_id)
            turn_queue.finish(claimed, Outcome("x", "stop"))
    assert order == [later.turn_id, urgent.turn_id, waiting.turn_id]


def test_cancelling_the_running_turn_leaves_the_queue(handle):
    running, waiting = ask(handle, lease=HERE), ask(handle)
    assert cancel(handle).stops == [Stop(running.turn_id, "here", "cancelled")]
    assert cancel(handle).stops == []
    assert Turn.objects.get(id=waiting.turn_id).state == "queued"


def test_a_cancelled_waiting_turn_ends_at_once_without_text(handle):
    ask(handle, lease=HERE)
    second, third = ask(handle, id="q2"), ask(handle)
    change = cancel(handle, ref="q2")
    [frame] = change.frames
    assert (frame["type"], frame["content"], frame["finish_reason"], frame["ref"]) == (
        "response",
        "",
        "cancelled",
        "q2",
    )
    assert Turn.objects.get(id=second.turn_id).state == "ended"
    assert [(s["turn"], s["position"]) for s in change.statuses] == [(str(third.turn_id), 1)]


def test_cancel_all_ends_the_waiting_and_stops_the_running(handle):
    running = ask(handle, lease=HERE)
    ask(handle), ask(handle)
    change = cancel(handle, all=True)
    assert [stop.turn_id for stop in change.stops] == [running.turn_id]
    assert [f["seq"] for f in change.frames] == [4, 5]
    assert Turn.objects.filter(state="queued").count() == 0


def test_cancelling_what_ended_or_nothing_is_fine_and_what_is_unknown_is_not(handle):
    assert cancel(handle) == Change(handle.id)
    done = ask(handle, id="q1", lease=HERE)
    answer(done)
    assert cancel(handle, turn=str(done.turn_id)).frames == []
    assert cancel(handle, ref="q1").frames == []
    other = ask(SessionHandle(Live(), uuid4(), Actor(visitor="w"), stored=False), id="foreign")
    for unknown in ({"turn": str(uuid4())}, {"turn": "nonsense"}, {"ref": "foreign"}):
        with pytest.raises(NotFound):
            cancel(handle, **unknown)
    with pytest.raises(NotFound):
        cancel(handle, turn=str(other.turn_id))


def test_a_ref_means_its_newest_unfinished_turn(handle):
    first = ask(handle, id="q1", lease=HERE)
    answer(first)
    again = retry(handle, first.turn_id, lease=HERE)
    assert cancel(handle, ref="q1").stops == [Stop(again.turn_id, "here", "cancelled")]


def test_a_retry_is_a_new_turn_of_the_same_query_with_the_same_view(handle):
    first = ask(handle, id="q1", lease=HERE)
    with pytest.raises(Busy):
        retry(handle, first.turn_id)
    answer(first)
    answer(ask(handle, "more", lease=HERE))
    again = retry(handle, first.turn_id, "r1", lease=HERE)
    assert again.turn_id != first.turn_id
    assert again.claimed.ref == "q1"
    assert (again.claimed.context_after, again.claimed.context_until) == (0, 1)
    assert retry(handle, first.turn_id, "r1").turn_id == again.turn_id
    with pytest.raises(Conflict):
        retry(handle, again.turn_id, "r1")
    with pytest.raises(Conflict):
        retry(handle, first.turn_id, "q1")
    with pytest.raises(Conflict):
        ask(handle, id="r1")


def test_a_retry_in_another_session_is_not_found(handle):
    other = SessionHandle(Live(), uuid4(), Actor(visitor="w"), stored=False)
    ask(other)
    done = ask(handle, lease=HERE)
    with pytest.raises(NotFound):
        retry(other, done.turn_id)


def test_an_edit_drops_its_target_and_what_followed_it(handle):
    kept = ask(handle, "kept", lease=HERE)
    answer(kept)
    target = ask(handle, "target", lease=HERE)
    answer(target)
    answer(ask(handle, "followed", lease=HERE))
    ask(handle, "edited", replaces=target.change.frames[0]["id"])
    dropped = Message.objects.filter(type="query").values_list("content", "dropped_seq")
    assert list(dropped) == [("kept", None), ("target", 7), ("followed", 7), ("edited", None)]


def test_an_edit_of_what_is_no_query_here_is_not_found(handle):
    other = ask(SessionHandle(Live(), uuid4(), Actor(visitor="w"), stored=False))
    ask(handle)
    for target in (other.change.frames[0]["id"], str(uuid4()), "nonsense"):
        with pytest.raises(NotFound):
            ask(handle, replaces=target)
    assert last_seq(handle) == 1


def test_closing_an_idle_session_closes_it_at_once_and_a_query_opens_it(handle):
    answer(ask(handle, lease=HERE))
    with transaction.atomic():
        change = queries._close(handle)
    assert [f["event"] for f in change.frames] == ["closed"]
    assert Session.objects.get().closed_at
    ask(handle)
    assert Session.objects.get().closed_at is None


def test_closing_a_busy_session_closes_it_after_the_last_turn(handle):
    running = ask(handle, lease=HERE)
    ask(handle)
    with transaction.atomic():
        change = queries._close(handle)
    assert [f["type"] for f in change.frames] == ["response"]
    assert change.stops == [Stop(running.turn_id, "here", "cancelled")]
    with transaction.atomic():
        change, _ = turn_queue.finish(running.claimed, Outcome("part", "cancelled"))
    assert [f.get("event", f["type"]) for f in change.frames] == ["response", "closed"]
    assert Session.objects.get().closed_at


def test_a_query_to_a_deleted_session_is_told_so_and_revives_nothing(handle):
    ask(handle)
    Session.objects.all().delete()
    with pytest.raises(SessionGone):
        ask(handle)
    assert not Session.objects.exists()


def test_text_that_databases_find_hard_is_kept_as_it_is(handle):
    text = "\ufeff  \U0001f600\u2028\u0085\r\n\t'\"\\%s%% \x7f\uffff "
    done = ask(handle, text, id="ü" * 64)
    assert Message.objects.get(seq=done.seq).frame()["content"] == text
    assert Turn.objects.get().client_id == "ü" * 64
