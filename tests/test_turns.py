"""The queue: its order, claims, leases, fences and ends, on the real database."""

import random
import threading
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from agent.actions import queries
from agent.actions.sessions import Held
from agent.actor import Actor
from agent.errors import InternalError, ProviderTimeout
from agent.models import Message, Session, Turn
from agent.protocol import client_frames
from agent.store import queue_order, turn_queue
from agent.store.turn_queue import Lease, Outcome

database = [pytest.mark.django_db(transaction=True), pytest.mark.database]
HERE, THERE = Lease("here", 15), Lease("there", 15)


@dataclass
class Place:
    number: int
    priority: int
    started_before: int = 0


def ask(held, content="hi", lease=None, **fields):
    query = client_frames.Query(type="query", content=content, **fields)
    with transaction.atomic():
        return queries._accept(held, query, 20, lease)


def claim(held, lease=HERE):
    with transaction.atomic():
        return turn_queue.claim(held.id, lease)


def finish(claimed, outcome=None):
    with transaction.atomic():
        return turn_queue.finish(claimed, outcome or Outcome("done", "stop"))


def expire(held):
    Turn.objects.filter(session_id=held.id, state="running").update(
        lease_until=Now() - timedelta(seconds=1)
    )


@pytest.fixture
def held():
    return Held(uuid4(), Actor(visitor="v"), stored=False)


# the order


def test_order_is_by_priority_then_age():
    low, first, second, high = Place(1, 0), Place(2, 1), Place(3, 1), Place(4, 2)
    assert queue_order.in_order([high, second, low, first], 0) == [high, first, second, low]


def test_interrupts_come_first_and_the_latest_of_them_before_the_others():
    high, one, two = Place(1, 2), Place(2, 3), Place(3, 3)
    assert queue_order.in_order([high, one, two], 0) == [two, one, high]


def test_four_starts_of_others_raise_a_turn_by_one_level():
    low, normal = Place(1, 0), Place(5, 1, started_before=2)
    assert queue_order.in_order([normal, low], 3) == [normal, low]
    assert queue_order.in_order([normal, low], 4) == [low, normal]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=200),
    st.integers(0, 2),
)
def test_the_wait_of_a_turn_is_bounded_whatever_comes_after_it(arrivals, priority):
    """At most the turns that were there before it, and eight starts of later ones, precede it."""
    queue = [Place(n, 2) for n in range(1, 6)]
    mine = Place(6, priority)
    queue.append(mine)
    started, number, arriving = 0, 6, iter(arrivals)
    while mine in queue:
        new_priority, count = next(arriving, (2, 1))
        for _ in range(count):
            number += 1
            queue.append(Place(number, new_priority, started))
        first = queue_order.in_order(queue, started)[0]
        queue.remove(first)
        started += 1
        assert started <= 5 + 8 + 1


# claims and ends


class TestClaiming:
    pytestmark = database

    def test_a_query_of_an_idle_session_is_claimed_with_its_acceptance(self, held):
        done = ask(held, lease=HERE)
        turn = Turn.objects.get(id=done.turn_id)
        assert done.claimed
        assert (turn.state, turn.attempt, turn.worker) == ("running", 1, "here")
        assert (turn.context_after, turn.context_until) == (0, 1)
        assert done.change.statuses == []

    def test_one_turn_runs_at_a_time_and_positions_are_told_when_they_change(self, held):
        first = ask(held, lease=HERE)
        second, third = ask(held, lease=HERE), ask(held, priority="low")
        fourth = ask(held, priority="high")
        assert [s["position"] for s in second.change.statuses] == [1]
        assert [s["position"] for s in third.change.statuses] == [2]
        assert {s["turn"]: s["position"] for s in fourth.change.statuses} == {
            str(fourth.turn_id): 1,
            str(second.turn_id): 2,
            str(third.turn_id): 3,
        }
        assert claim(held)[0] is None
        assert finish(first.claimed)[1] is True
        claimed, change = claim(held)
        assert claimed.turn_id == fourth.turn_id
        assert [s["position"] for s in change.statuses] == [1, 2]

    def test_the_schema_refuses_a_second_running_turn(self, held):
        ask(held, lease=HERE)
        second = ask(held)
        with pytest.raises(Exception, match=r"(?i)unique"), transaction.atomic():
            Turn.objects.filter(id=second.turn_id).update(state="running")

    def test_the_schema_refuses_a_second_end_of_a_turn(self, held):
        done = ask(held, lease=HERE)
        finish(done.claimed)
        with pytest.raises(Exception, match=r"(?i)unique"), transaction.atomic():
            Message.objects.create(session_id=held.id, seq=99, type="error", turn_id=done.turn_id)

    def test_a_turn_ends_once_with_numbers_without_gaps(self, held):
        done = ask(held, lease=HERE)
        change, others_wait = finish(done.claimed, Outcome("text", "stop", prompt_tokens=3))
        assert not others_wait
        assert finish(done.claimed) is None
        assert [f["seq"] for f in change.frames] == [2]
        assert Session.objects.get(id=held.id).last_seq == 2
        turn = Turn.objects.get(id=done.turn_id)
        assert (turn.state, turn.finish_reason, turn.prompt_tokens) == ("ended", "stop", 3)
        assert Message.objects.get(session_id=held.id, seq=1).ended_seq == 2

    def test_an_error_keeps_the_partial_text(self, held):
        done = ask(held, lease=HERE)
        change, _ = finish(done.claimed, Outcome("half", error=ProviderTimeout()))
        frame = change.frames[0]
        assert (frame["type"], frame["code"], frame["partial"]) == (
            "error",
            "provider_timeout",
            "half",
        )
        assert frame == Message.objects.get(session_id=held.id, seq=2).frame()

    def test_an_abandoned_turn_is_taken_over_and_its_first_process_is_fenced(self, held):
        first = ask(held, lease=HERE).claimed
        assert claim(held, THERE)[0] is None
        expire(held)
        second, change = claim(held, THERE)
        assert (second.turn_id, second.attempt) == (first.turn_id, 2)
        assert change.statuses[0]["status"] == "restarted"
        assert change.statuses[0]["attempt"] == 2
        assert (second.context_after, second.context_until) == (0, 1)
        assert finish(first, Outcome("zombie", "stop")) is None
        assert finish(second, Outcome("right", "stop"))
        ends = Message.objects.filter(turn_id=first.turn_id, type="response")
        assert [end.content for end in ends] == ["right"]
        assert Session.objects.get(id=held.id).last_seq == 2

    def test_after_three_attempts_a_turn_ends_with_an_error_and_the_queue_goes_on(self, held):
        first = ask(held, lease=HERE)
        second = ask(held)
        for _ in range(2):
            expire(held)
            assert claim(held)[0].turn_id == first.turn_id
        expire(held)
        claimed, change = claim(held)
        assert claimed.turn_id == second.turn_id
        assert [f["code"] for f in change.frames] == ["internal_error"]
        assert change.frames[0]["retryable"] is True

    def test_attempts_that_were_handed_back_in_order_do_not_count(self, held):
        first = ask(held, lease=HERE)
        for attempt in range(2, 6):
            with transaction.atomic():
                assert turn_queue.hand_back(HERE.worker) == 1
                assert turn_queue.renew(HERE, {first.turn_id: attempt - 1}) == {}
            claimed = claim(held, lease=HERE)[0]
            assert (claimed.turn_id, claimed.attempt) == (first.turn_id, attempt)
        for _ in range(2):
            expire(held)
            assert claim(held)[0].turn_id == first.turn_id
        expire(held)
        claimed, change = claim(held)
        assert claimed is None
        assert [f["code"] for f in change.frames] == ["internal_error"]

    def test_an_abandoned_turn_that_was_to_stop_ends_as_stopped(self, held):
        done = ask(held, lease=HERE)
        with transaction.atomic():
            queries._cancel(held, client_frames.Cancel())
        expire(held)
        claimed, change = claim(held)
        assert claimed is None
        assert change.frames[0]["finish_reason"] == "cancelled"
        assert Turn.objects.get(id=done.turn_id).state == "ended"

    def test_renewing_keeps_leases_and_tells_what_to_stop_and_what_is_lost(self, held):
        done = ask(held, lease=HERE)
        expire(held)
        with transaction.atomic():
            kept = turn_queue.renew(HERE, {done.turn_id: 1, uuid4(): 1})
        assert kept == {done.turn_id: ""}
        assert claim(held, THERE)[0] is None
        with transaction.atomic():
            queries._cancel(held, client_frames.Cancel())
            assert turn_queue.renew(HERE, {done.turn_id: 1}) == {done.turn_id: "cancelled"}
            assert turn_queue.renew(HERE, {done.turn_id: 2}) == {}
            assert turn_queue.renew(THERE, {done.turn_id: 1}) == {}

    def test_a_turn_that_somebody_locks_holds_up_the_renewal_of_no_other(self):
        if not connection.features.has_select_for_update_skip_locked:
            pytest.skip("this database locks no rows")
        locked, other = (Held(uuid4(), Actor(visitor="v"), stored=False) for _ in range(2))
        mine = {ask(held, lease=HERE).turn_id: 1 for held in (locked, other)}
        for held in (locked, other):
            expire(held)
        is_locked, may_end = threading.Event(), threading.Event()

        def freeze():
            try:
                with transaction.atomic():
                    queries._cancel(locked, client_frames.Cancel())
                    is_locked.set()
                    may_end.wait(60)
            finally:
                connection.close()

        frozen = threading.Thread(target=freeze)
        frozen.start()
        try:
            assert is_locked.wait(60)
            with transaction.atomic():
                assert turn_queue.renew(HERE, mine) == dict.fromkeys(mine, "")
        finally:
            may_end.set()
            frozen.join()
        assert claim(other, THERE)[0] is None
        assert turn_queue.due(10) == [locked.id]

    def test_what_a_process_hands_back_is_due_at_once(self, held):
        ask(held, lease=HERE)
        assert turn_queue.due(10) == []
        with transaction.atomic():
            assert turn_queue.hand_back("here") == 1
        assert turn_queue.due(10) == [held.id]
        assert claim(held, THERE)[0].attempt == 2

    def test_a_waiting_turn_is_due_for_others_only_after_a_while(self, held):
        done = ask(held)
        assert turn_queue.due(10) == []
        Turn.objects.filter(id=done.turn_id).update(created_at=Now() - timedelta(seconds=3))
        assert turn_queue.due(10) == [held.id]
        ask(Held(held.id, held.actor, stored=True), lease=None)
        claim(held)
        assert turn_queue.due(10) == []

    def test_claiming_in_a_deleted_session_finds_nothing(self, held):
        done = ask(held, lease=HERE)
        Session.objects.all().delete()
        assert claim(held)[0] is None
        assert finish(done.claimed, Outcome(error=InternalError())) is None
        assert not Turn.objects.exists()

    @pytest.mark.slow
    @pytest.mark.timeout(600)
    def test_eight_claimers_run_each_turn_once(self):
        sessions = [Held(uuid4(), Actor(visitor="v"), stored=False) for _ in range(250)]
        for session in sessions:
            for _ in range(4):
                ask(session)
        Turn.objects.update(created_at=timezone.now() - timedelta(minutes=1))
        claims: Counter = Counter()
        failures = []

        def work(name):
            lease = Lease(name, 60)
            try:
                while ids := turn_queue.due(50):
                    for session_id in random.sample(ids, len(ids)):
                        with transaction.atomic():
                            claimed, _ = turn_queue.claim(session_id, lease, skip_locked=True)
                        if claimed:
                            claims[claimed.turn_id] += 1
                            finish(claimed)
            except Exception as error:
                failures.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(claims) == 1000
        assert set(claims.values()) == {1}
        assert Message.objects.filter(type="response").count() == 1000
