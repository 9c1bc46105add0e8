"""The queue: its order, claims, leases, fences and ends, on the real database."""

import random
import threading
from collections import Counter
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from agent.actions import queries
from agent.actions.handles import SessionHandle
from agent.actor import Actor
from agent.errors import InternalError, ProviderTimeout
from agent.live.publish import Live
from agent.models import Message, Session, Turn
from agent.protocol import client_frames
from agent.store import turn_queue
from agent.store.turn_queue import Lease, Outcome

database = pytest.mark.django_db(transaction=True)
HERE, THERE = Lease("here", 15), Lease("there", 15)


def ask(handle, content="hi", lease=None, **fields):
    query = client_frames.Query(type="query", content=content, **fields)
    with transaction.atomic():
        return queries._accept(handle, query, 20, lease)


def claim(handle, lease=HERE):
    with transaction.atomic():
        return turn_queue.claim(handle.id, lease)


def finish(claimed, outcome=None):
    with transaction.atomic():
        return turn_queue.finish(claimed, outcome or Outcome("done", "stop"))


def expire(handle):
    Turn.objects.filter(session_id=handle.id, state="running").update(
        lease_until=Now() - timedelta(seconds=1)
    )


@pytest.fixture
def handle():
    return SessionHandle(Live(), uuid4(), Actor(visitor="v"), stored=False)


# claims and ends


def wait_as_long_as_it_takes():
    """SQLite's writers poll for its lock, so that of eight one may come last for 20 s."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout = 600000")


class TestClaiming:
    pytestmark = database

    def test_a_query_of_an_idle_session_is_claimed_with_its_acceptance(self, handle):
        done = ask(handle, lease=HERE)
        turn = Turn.objects.get(id=done.turn_id)
        assert done.claimed
        assert (turn.state, turn.attempt, turn.worker) == ("running", 1, "here")
        assert (turn.context_after, turn.context_until) == (0, 1)
        assert done.change.statuses == []

    def test_one_turn_runs_at_a_time_and_positions_are_told_when_they_change(self, handle):
        first = ask(handle, lease=HERE)
        second, third = ask(handle, lease=HERE), ask(handle, priority="low")
        fourth = ask(handle, priority="high")
        assert [s["position"] for s in second.change.statuses] == [1]
        assert [s["position"] for s in third.change.statuses] == [2]
        assert {s["turn"]: s["position"] for s in fourth.change.statuses} == {
            str(fourth.turn_id): 1,
            str(second.turn_id): 2,
            str(third.turn_id): 3,
        }
        assert claim(handle)[0] is None
        assert finish(first.claimed)[1] is True
        claimed, change = claim(handle)
        assert claimed.turn_id == fourth.turn_id
        assert [s["position"] for s in change.statuses] == [1, 2]

    def test_the_schema_refuses_a_second_running_turn(self, handle):
        ask(handle, lease=HERE)
        second = ask(handle)
        with pytest.raises(Exception, match=r"(?i)unique"), transaction.atomic():
            Turn.objects.filter(id=second.turn_id).update(state="running")

    def test_the_schema_refuses_a_second_end_of_a_turn(self, handle):
        done = ask(handle, lease=HERE)
        finish(done.claimed)
        with pytest.raises(Exception, match=r"(?i)unique"), transaction.atomic():
            Message.objects.create(session_id=handle.id, seq=99, type="error", turn_id=done.turn_id)

    def test_a_turn_ends_once_with_numbers_without_gaps(self, handle):
        done = ask(handle, lease=HERE)
        change, others_wait = finish(done.claimed, Outcome("text", "stop", prompt_tokens=3))
        assert not others_wait
        assert finish(done.claimed) is None
        assert [f["seq"] for f in change.frames] == [2]
        assert Session.objects.get(id=handle.id).last_seq == 2
        turn = Turn.objects.get(id=done.turn_id)
        assert (turn.state, turn.finish_reason, turn.prompt_tokens) == ("ended", "stop", 3)
        assert Message.objects.get(session_id=handle.id, seq=1).ended_seq == 2

    def test_an_error_keeps_the_partial_text(self, handle):
        done = ask(handle, lease=HERE)
        change, _ = finish(done.claimed, Outcome("half", error=ProviderTimeout()))
        frame = change.frames[0]
        assert (frame["type"], frame["code"], frame["partial"]) == (
            "error",
            "provider_timeout",
            "half",
        )
        assert frame == Message.objects.get(session_id=handle.id, seq=2).frame()

    def test_an_abandoned_turn_is_taken_over_and_its_first_process_is_fenced(self, handle):
        first = ask(handle, lease=HERE).claimed
        assert claim(handle, THERE)[0] is None
        expire(handle)
        second, change = claim(handle, THERE)
        assert (second.turn_id, second.attempt) == (first.turn_id, 2)
        assert change.statuses[0]["status"] == "restarted"
        assert change.statuses[0]["attempt"] == 2
        assert (second.context_after, second.context_until) == (0, 1)
        assert finish(first, Outcome("zombie", "stop")) is None
        assert finish(second, Outcome("right", "stop"))
        ends = Message.objects.filter(turn_id=first.turn_id, type="response")
        assert [end.content for end in ends] == ["right"]
        assert Session.objects.get(id=handle.id).last_seq == 2

    def test_after_three_attempts_a_turn_ends_with_an_error_and_the_queue_goes_on(self, handle):
        first = ask(handle, lease=HERE)
        second = ask(handle)
        for _ in range(2):
            expire(handle)
            assert claim(handle)[0].turn_id == first.turn_id
        expire(handle)
        claimed, change = claim(handle)
        assert claimed.turn_id == second.turn_id
        assert [f["code"] for f in change.frames] == ["internal_error"]
        assert change.frames[0]["retryable"] is True

    def test_attempts_that_were_handed_back_in_order_do_not_count(self, handle):
        first = ask(handle, lease=HERE)
        for attempt in range(2, 6):
            with transaction.atomic():
                assert turn_queue.hand_back(HERE.worker) == 1
                assert turn_queue.renew(HERE, {first.turn_id: attempt - 1}) == {}
            claimed = claim(handle, lease=HERE)[0]
            assert (claimed.turn_id, claimed.attempt) == (first.turn_id, attempt)
        for _ in range(2):
            expire(handle)
            assert claim(handle)[0].turn_id == first.turn_id
        expire(handle)
        claimed, change = claim(handle)
        assert claimed is None
        assert [f["code"] for f in change.frames] == ["internal_error"]

    def test_an_abandoned_turn_that_was_to_stop_ends_as_stopped(self, handle):
        done = ask(handle, lease=HERE)
        with transaction.atomic():
            queries._cancel(handle, client_frames.Cancel())
        expire(handle)
        claimed, change = claim(handle)
        assert claimed is None
        assert change.frames[0]["finish_reason"] == "cancelled"
        assert Turn.objects.get(id=done.turn_id).state == "ended"

    def test_renewing_keeps_leases_and_tells_what_to_stop_and_what_is_lost(self, handle):
        done = ask(handle, lease=HERE)
        expire(handle)
        with transaction.atomic():
            kept = turn_queue.renew(HERE, {done.turn_id: 1, uuid4(): 1})
        assert kept == {done.turn_id: ""}
        assert claim(handle, THERE)[0] is None
        with transaction.atomic():
            queries._cancel(handle, client_frames.Cancel())
            assert turn_queue.renew(HERE, {done.turn_id: 1}) == {done.turn_id: "cancelled"}
            assert turn_queue.renew(HERE, {done.turn_id: 2}) == {}
            assert turn_queue.renew(THERE, {done.turn_id: 1}) == {}

    def test_a_turn_that_somebody_locks_holds_up_the_renewal_of_no_other(self):
        if not connection.features.has_select_for_update_skip_locked:
            pytest.skip("this database locks no rows")
        locked, other = (
            SessionHandle(Live(), uuid4(), Actor(visitor="v"), stored=False) for _ in range(2)
        )
        mine = {ask(handle, lease=HERE).turn_id: 1 for handle in (locked, other)}
        for handle in (locked, other):
            expire(handle)
        is_locked, revocable = threading.Event(), threading.Event()

        def freeze():
            try:
                with transaction.atomic():
                    queries._cancel(locked, client_frames.Cancel())
                    is_locked.set()
                    revocable.wait(60)
            finally:
                connection.close()

        frozen = threading.Thread(target=freeze)
        frozen.start()
        try:
            assert is_locked.wait(60)
            with transaction.atomic():
                assert turn_queue.renew(HERE, mine) == dict.fromkeys(mine, "")
        finally:
            revocable.set()
            frozen.join()
        assert claim(other, THERE)[0] is None
        assert turn_queue.due(10) == [locked.id]

    def test_what_a_process_hands_back_is_due_at_once(self, handle):
        ask(handle, lease=HERE)
        assert turn_queue.due(10) == []
        with transaction.atomic():
            assert turn_queue.hand_back("here") == 1
        assert turn_queue.due(10) == [handle.id]
        assert claim(handle, THERE)[0].attempt == 2

    def test_a_waiting_turn_is_due_for_others_only_after_a_while(self, handle):
        done = ask(handle)
        assert turn_queue.due(10) == []
        Turn.objects.filter(id=done.turn_id).update(created_at=Now() - timedelta(seconds=3))
        assert turn_queue.due(10) == [handle.id]
        ask(SessionHandle(Live(), handle.id, handle.actor, stored=True), lease=None)
        claim(handle)
        assert turn_queue.due(10) == []

    def test_claiming_in_a_deleted_session_finds_nothing(self, handle):
        done = ask(handle, lease=HERE)
        Session.objects.all().delete()
        assert claim(handle)[0] is None
        assert finish(done.claimed, Outcome(error=InternalError())) is None
        assert not Turn.objects.exists()

    @pytest.mark.timeout(600)
    def test_eight_claimers_run_each_turn_once(self):
        sessions = [
            SessionHandle(Live(), uuid4(), Actor(visitor="v"), stored=False) for _ in range(100)
        ]
        for session in sessions:
            for _ in range(4):
                ask(session)
        Turn.objects.update(created_at=timezone.now() - timedelta(minutes=1))
        claims: Counter = Counter()
        failures = []

        def work(name):
            lease = Lease(name, 60)
            try:
                wait_as_long_as_it_takes()
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
        assert len(claims) == 400
        assert set(claims.values()) == {1}
        assert Message.objects.filter(type="response").count() == 400
