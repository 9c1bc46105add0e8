"""What the model sees of a session."""

from uuid import uuid4

import pytest
from django.db import transaction

from agent import protocol, queries, turns
from agent.actor import Actor
from agent.errors import ProviderTimeout
from agent.models import Session
from agent.prompt import prompt
from agent.sessions import Held
from agent.turns import Lease, Outcome

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]
HERE = Lease("here", 15)


class Talk:
    """A session, asked and answered step by step."""

    def __init__(self):
        self.held = Held(uuid4(), Actor(visitor="v"), stored=False)

    def ask(self, content, **fields):
        query = protocol.Query(type="query", content=content, **fields)
        with transaction.atomic():
            done = queries._accept(self.held, query, 20, HERE)
        self.held.stored = True
        return done

    def claim(self):
        with transaction.atomic():
            return turns.claim(self.held.id, HERE)[0]

    def end(self, claimed, text, reason="stop", error=None):
        with transaction.atomic():
            turns.finish(claimed, Outcome(text, "" if error else reason, error))

    def exchange(self, content, text, **end):
        done = self.ask(content)
        self.end(done.claimed, text, **end)
        return done

    def retry(self, done):
        with transaction.atomic():
            return queries._retry(self.held, protocol.Retry(turn=str(done.turn_id)), None, 20, HERE)

    def seen(self, claimed, max_history=50):
        messages = prompt(
            claimed.query_id,
            claimed.session_id,
            after=claimed.context_after,
            until=claimed.context_until,
            system_prompt="system",
            max_history=max_history,
        )
        assert messages[0] == {"role": "system", "content": "system"}
        return [f"{m['role'][0]}:{m['content']}" for m in messages[1:]]


@pytest.fixture
def talk():
    return Talk()


def test_exchanges_come_in_order_and_the_query_last(talk):
    talk.exchange("one", "1")
    talk.exchange("two", "2")
    assert talk.seen(talk.ask("three").claimed) == ["u:one", "a:1", "u:two", "a:2", "u:three"]


def test_partial_texts_of_stopped_and_failed_turns_count_and_empty_ones_do_not(talk):
    talk.exchange("one", "half", reason="cancelled")
    talk.exchange("two", "broken", error=ProviderTimeout())
    talk.exchange("three", "", error=ProviderTimeout())
    assert talk.seen(talk.ask("four").claimed) == [
        "u:one",
        "a:half",
        "u:two",
        "a:broken",
        "u:three",
        "u:four",
    ]


def test_waiting_queries_are_not_in_it_and_order_is_that_of_ending(talk):
    first = talk.ask("first")
    talk.ask("waits")
    talk.ask("urgent", priority="high")
    assert talk.seen(first.claimed) == ["u:first"]
    talk.end(first.claimed, "1")
    urgent = talk.claim()
    assert talk.seen(urgent) == ["u:first", "a:1", "u:urgent"]
    talk.end(urgent, "2")
    assert talk.seen(talk.claim()) == ["u:first", "a:1", "u:urgent", "a:2", "u:waits"]


def test_only_the_newest_messages_are_sent(talk):
    for n in range(5):
        talk.exchange(f"q{n}", f"a{n}")
    claimed = talk.ask("last").claimed
    assert talk.seen(claimed, max_history=4) == ["a:a3", "u:q4", "a:a4", "u:last"]
    assert talk.seen(claimed, max_history=1) == ["u:last"]


def test_what_ended_before_a_clear_is_forgotten(talk):
    talk.exchange("old", "1")
    last = Session.objects.get().last_seq
    Session.objects.update(cleared_seq=last)
    assert talk.seen(talk.ask("new").claimed) == ["u:new"]


def test_a_retry_sees_what_its_query_saw_and_takes_the_place_of_the_old_answer(talk):
    talk.exchange("one", "1")
    two = talk.exchange("two", "bad")
    talk.exchange("three", "3")
    Session.objects.update(cleared_seq=0)
    again = talk.retry(two)
    assert talk.seen(again.claimed) == ["u:one", "a:1", "u:two"]
    talk.end(again.claimed, "good")
    assert talk.seen(talk.ask("four").claimed) == [
        "u:one",
        "a:1",
        "u:two",
        "a:good",
        "u:three",
        "a:3",
        "u:four",
    ]


def test_a_retry_of_what_was_stopped_before_it_started_shows_its_query_once(talk):
    one = talk.ask("one")
    two = talk.ask("two")  # waits
    with transaction.atomic():
        queries._cancel(talk.held, protocol.Cancel(turn=str(two.turn_id)))
    talk.end(one.claimed, "1")
    assert talk.seen(talk.retry(two).claimed) == ["u:one", "a:1", "u:two"]


def test_a_failed_retry_without_text_leaves_the_old_answer(talk):
    one = talk.exchange("one", "1")
    again = talk.retry(one)
    talk.end(again.claimed, "", error=ProviderTimeout())
    assert talk.seen(talk.ask("two").claimed) == ["u:one", "a:1", "u:two"]


def test_an_edit_drops_its_target_and_what_followed_for_later_queries_too(talk):
    talk.exchange("one", "1")
    two = talk.exchange("two", "2")
    three = talk.exchange("three", "3")
    edit = talk.ask("edited", replaces=two.change.frames[0]["id"])
    assert talk.seen(edit.claimed) == ["u:one", "a:1", "u:edited"]
    talk.end(edit.claimed, "e")
    later = talk.ask("next")
    assert talk.seen(later.claimed) == ["u:one", "a:1", "u:edited", "a:e", "u:next"]
    talk.end(later.claimed, "n")
    assert talk.seen(talk.retry(three).claimed) == ["u:one", "a:1", "u:two", "a:2", "u:three"]


def test_other_sessions_are_never_seen(talk):
    talk.exchange("mine", "1")
    other = Talk()
    assert other.seen(other.ask("theirs").claimed) == ["u:theirs"]
