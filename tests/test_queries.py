"""Asking and stopping: what is accepted is kept, an id runs once, a cancel ends what it names."""

from uuid import uuid4

import pytest
from django.db import transaction

from agent.actions import queries
from agent.actions.sessions import Held
from agent.actor import Actor
from agent.errors import Busy, Conflict, NotFound, QueueFull, SessionGone
from agent.models import Message, Session, Turn
from agent.protocol import client_frames
from agent.store import turn_queue
from agent.store.turn_queue import Lease, Outcome

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]
HERE = Lease("here", 15)


@pytest.fixture
def held():
    return Held(uuid4(), Actor(visitor="v"), stored=False)


def ask(held, content="hi", lease=None, max_queue=20, **fields):
    query = client_frames.Query(type="query", content=content, **fields)
    with transaction.atomic():
        done = queries._accept(held, query, max_queue, lease)
    held.stored = True
    return done


def answer(done, text="done"):
    with transaction.atomic():
        turn_queue.finish(done.claimed, Outcome(text, "stop"))


def cancel(held, **args):
    with transaction.atomic():
        return queries._cancel(held, client_frames.Cancel(**args))


def retry(held, turn_id, client_id=None, lease=None):
    with transaction.atomic():
        return queries._retry(held, client_frames.Retry(turn=str(turn_id)), client_id, 20, lease)


def last_seq(held):
    return Session.objects.get(id=held.id).last_seq


def test_the_first_query_writes_the_session_with_its_owner(held):
    done = ask(held, id="q1")
    session = Session.objects.get()
    assert (session.id, session.visitor, session.owner) == (held.id, "v", None)
    [frame] = done.change.frames
    assert frame == Message.objects.get().frame()
    assert (frame["seq"], frame["ref"], frame["turn"]) == (1, "q1", str(done.turn_id))


def test_the_same_id_with_the_same_content_is_the_same_turn(held):
    first, again = ask(held, id="q1", lease=HERE), ask(held, id="q1", lease=HERE)
    assert (again.turn_id, again.seq, again.state) == (first.turn_id, 1, "running")
    assert again.change is None
    assert again.claimed is None
    answer(first)
    assert ask(held, id="q1").state == "ended"
    assert (Turn.objects.count(), last_seq(held)) == (1, 2)


def test_the_same_id_with_another_content_or_target_is_a_conflict(held):
    first = ask(held, id="q1")
    with pytest.raises(Conflict):
        ask(held, "other", id="q1")
    with pytest.raises(Conflict):
        ask(held, id="q1", replaces=first.change.frames[0]["id"])
    assert (Turn.objects.count(), last_seq(held)) == (1, 1)


def test_ids_of_other_sessions_are_free(held):
    ask(held, id="q1")
    ask(Held(uuid4(), Actor(visitor="w"), stored=False), "other", id="q1")
    assert Turn.objects.count() == 2


def test_reject_is_busy_while_a_turn_runs_or_waits_and_leaves_its_id_free(held):
    first = ask(held, lease=HERE)
    with pytest.raises(Busy):
        ask(held, id="q2", on_busy="reject")
    answer(first)
    assert ask(held, id="q2", on_busy="reject").change


def test_a_full_queue_refuses_and_leaves_the_id_free(held):
    first = ask(held, lease=HERE, max_queue=1)
    ask(held, max_queue=1)
    with pytest.raises(QueueFull):
        ask(held, id="q3", max_queue=1)
    answer(first)
    with transaction.atomic():
        turn_queue.claim(held.id, HERE)
    assert ask(held, id="q3", max_queue=1).change


def test_an_interrupt_asks_the_running_turn_to_stop_and_goes_first(held):
    running, waiting = ask(held, lease=HERE), ask(held, priority="high")
    urgent = ask(held, on_busy="interrupt")
    later = ask(held, on_busy="interrupt")
    assert urgent.stopped == [(running.turn_id, "here", "interrupted")]
    assert later.stopped == []
    answer(running)
    order = []
    with transaction.atomic():
        for _ in range(3):
            claimed, _ = turn_queue.claim(held.id, HERE)
            order.append(claimed.turn_id)
            turn_queue.finish(claimed, Outcome("x", "stop"))
    assert order == [later.turn_id, urgent.turn_id, waiting.turn_id]


def test_cancelling_the_running_turn_leaves_the_queue(held):
    running, waiting = ask(held, lease=HERE), ask(held)
    assert cancel(held).stopped == [(running.turn_id, "here", "cancelled")]
    assert cancel(held).stopped == []
    assert Turn.objects.get(id=waiting.turn_id).state == "queued"


def test_a_cancelled_waiting_turn_ends_at_once_without_text(held):
    ask(held, lease=HERE)
    second, third = ask(held, id="q2"), ask(held)
    effect = cancel(held, ref="q2")
    [frame] = effect.change.frames
    assert (frame["type"], frame["content"], frame["finish_reason"], frame["ref"]) == (
        "response",
        "",
        "cancelled",
        "q2",
    )
    assert Turn.objects.get(id=second.turn_id).state == "ended"
    assert [(s["turn"], s["position"]) for s in effect.change.statuses] == [(str(third.turn_id), 1)]


def test_cancel_all_ends_the_waiting_and_stops_the_running(held):
    running = ask(held, lease=HERE)
    ask(held), ask(held)
    effect = cancel(held, all=True)
    assert [turn for turn, _, _ in effect.stopped] == [running.turn_id]
    assert [f["seq"] for f in effect.change.frames] == [4, 5]
    assert Turn.objects.filter(state="queued").count() == 0


def test_cancelling_what_ended_or_nothing_is_fine_and_what_is_unknown_is_not(held):
    assert cancel(held).change is None
    done = ask(held, id="q1", lease=HERE)
    answer(done)
    assert cancel(held, turn=str(done.turn_id)).change.frames == []
    assert cancel(held, ref="q1").change.frames == []
    other = ask(Held(uuid4(), Actor(visitor="w"), stored=False), id="foreign")
    for unknown in ({"turn": str(uuid4())}, {"turn": "nonsense"}, {"ref": "foreign"}):
        with pytest.raises(NotFound):
            cancel(held, **unknown)
    with pytest.raises(NotFound):
        cancel(held, turn=str(other.turn_id))


def test_a_ref_means_its_newest_unfinished_turn(held):
    first = ask(held, id="q1", lease=HERE)
    answer(first)
    again = retry(held, first.turn_id, lease=HERE)
    assert cancel(held, ref="q1").stopped == [(again.turn_id, "here", "cancelled")]


def test_a_retry_is_a_new_turn_of_the_same_query_with_the_same_view(held):
    first = ask(held, id="q1", lease=HERE)
    with pytest.raises(Busy):
        retry(held, first.turn_id)
    answer(first)
    answer(ask(held, "more", lease=HERE))
    again = retry(held, first.turn_id, "r1", lease=HERE)
    assert again.turn_id != first.turn_id
    assert again.claimed.ref == "q1"
    assert (again.claimed.context_after, again.claimed.context_until) == (0, 1)
    assert retry(held, first.turn_id, "r1").turn_id == again.turn_id
    with pytest.raises(Conflict):
        retry(held, again.turn_id, "r1")
    with pytest.raises(Conflict):
        retry(held, first.turn_id, "q1")
    with pytest.raises(Conflict):
        ask(held, id="r1")


def test_a_retry_in_another_session_is_not_found(held):
    other = Held(uuid4(), Actor(visitor="w"), stored=False)
    ask(other)
    done = ask(held, lease=HERE)
    with pytest.raises(NotFound):
        retry(other, done.turn_id)


def test_an_edit_drops_its_target_and_what_followed_it(held):
    kept = ask(held, "kept", lease=HERE)
    answer(kept)
    target = ask(held, "target", lease=HERE)
    answer(target)
    answer(ask(held, "followed", lease=HERE))
    ask(held, "edited", replaces=target.change.frames[0]["id"])
    dropped = Message.objects.filter(type="query").values_list("content", "dropped_seq")
    assert list(dropped) == [("kept", None), ("target", 7), ("followed", 7), ("edited", None)]


def test_an_edit_of_what_is_no_query_here_is_not_found(held):
    other = ask(Held(uuid4(), Actor(visitor="w"), stored=False))
    ask(held)
    for target in (other.change.frames[0]["id"], str(uuid4()), "nonsense"):
        with pytest.raises(NotFound):
            ask(held, replaces=target)
    assert last_seq(held) == 1


def test_closing_an_idle_session_closes_it_at_once_and_a_query_opens_it(held):
    answer(ask(held, lease=HERE))
    with transaction.atomic():
        effect = queries._close(held)
    assert [f["event"] for f in effect.change.frames] == ["closed"]
    assert Session.objects.get().closed_at
    ask(held)
    assert Session.objects.get().closed_at is None


def test_closing_a_busy_session_closes_it_after_the_last_turn(held):
    running = ask(held, lease=HERE)
    ask(held)
    with transaction.atomic():
        effect = queries._close(held)
    assert [f["type"] for f in effect.change.frames] == ["response"]
    assert effect.stopped == [(running.turn_id, "here", "cancelled")]
    with transaction.atomic():
        change, _ = turn_queue.finish(running.claimed, Outcome("part", "cancelled"))
    assert [f.get("event", f["type"]) for f in change.frames] == ["response", "closed"]
    assert Session.objects.get().closed_at


def test_a_query_to_a_deleted_session_is_told_so_and_revives_nothing(held):
    ask(held)
    Session.objects.all().delete()
    with pytest.raises(SessionGone):
        ask(held)
    assert not Session.objects.exists()


def test_text_that_databases_find_hard_is_kept_as_it_is(held):
    text = "\ufeff  \U0001f600\u2028\u0085\r\n\t'\"\\%s%% \x7f\uffff "
    done = ask(held, text, id="ü" * 64)
    assert Message.objects.get(seq=done.seq).frame()["content"] == text
    assert Turn.objects.get().client_id == "ü" * 64
