"""What the model sees of a session."""

from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.actions import queries
from agent.actions.handles import SessionHandle
from agent.actor import Actor
from agent.errors import ContextTooLong, ProviderRejected, ProviderTimeout
from agent.live.publish import Live
from agent.models import Message, Session
from agent.protocol import client_frames
from agent.store import turn_queue
from agent.store.prompt import prompt
from agent.store.turn_queue import Lease, Outcome

pytestmark = pytest.mark.django_db(transaction=True)
HERE = Lease("here", 15)


class Talk:
    """A session, asked and answered step by step."""

    def __init__(self):
        self.handle = SessionHandle(Live(), uuid4(), Actor(visitor="v"), stored=False)

    def ask(self, content, **fields):
        query = client_frames.Query(type="query", content=content, **fields)
        with transaction.atomic():
            done = queries._accept(self.handle, query, 20, HERE)
        self.handle._stored = True
        return done

    def claim(self):
        with transaction.atomic():
            return turn_queue.claim(self.handle.id, HERE)[0]

    def end(self, claimed, text, reason="stop", error=None):
        with transaction.atomic():
            turn_queue.finish(claimed, Outcome(text, "" if error else reason, error))

    def exchange(self, content, text, **end):
        done = self.ask(content)
        self.end(done.claimed, text, **end)
        return done

    def retry(self, done):
        with transaction.atomic():
            return queries._retry(
                self.handle, client_frames.Retry(turn=str(done.turn_id)), None, 20, HERE
            )

    def cancel(self, **target):
        with transaction.atomic():
            return queries._cancel(self.handle, client_frames.Cancel(**target))

    def withdrawn(self, content):
        """A question that waits behind another one and is taken back."""
        first = self.ask("running")
        waiting = self.ask(content)
        self.cancel(turn=str(waiting.turn_id))
        self.end(first.claimed, "ran")
        return waiting

    def messages(self, claimed, max_history=50, system_prompt="system"):
        return prompt(
            claimed.query_id,
            claimed.session_id,
            after=claimed.context_after,
            until=claimed.context_until,
            system_prompt=system_prompt,
            max_history=max_history,
        )

    def seen(self, claimed, max_history=50):
        messages = self.messages(claimed, max_history)
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


def test_an_older_question_comes_with_the_answer_of_its_newest_retry(talk):
    first = talk.exchange("one", "1")
    for n in range(3):  # as many as a page: the first question is on the next one
        talk.exchange(f"stopped {n}", "", reason="cancelled")
    talk.end(talk.retry(first).claimed, "newer")
    claimed = talk.ask("last").claimed
    assert talk.seen(claimed, max_history=3) == ["u:one", "a:newer", "u:last"]


def test_only_the_newest_messages_are_sent(talk):
    for n in range(5):
        talk.exchange(f"q{n}", f"a{n}")
    claimed = talk.ask("last").claimed
    newest = ["u:q3", "a:a3", "u:q4", "a:a4", "u:last"]
    assert talk.seen(claimed, max_history=6) == newest
    assert talk.seen(claimed, max_history=5) == newest
    assert talk.seen(claimed, max_history=4) == newest[2:]
    assert talk.seen(claimed, max_history=3) == newest[2:]
    assert talk.seen(claimed, max_history=2) == ["u:last"]
    assert talk.seen(claimed, max_history=1) == ["u:last"]


def test_a_question_that_was_interrupted_is_part_of_the_next_one(talk):
    talk.exchange("one", "1")
    talk.exchange("first", "", reason="interrupted")
    talk.exchange("second", " ", reason="interrupted")
    claimed = talk.ask("last").claimed
    assert talk.seen(claimed) == ["u:one", "a:1", "u:first\n\nsecond\n\nlast"]
    assert talk.seen(claimed, max_history=2) == ["u:second\n\nlast"]
    assert talk.seen(claimed, max_history=1) == ["u:last"]


@pytest.mark.parametrize(
    "end",
    [
        {"error": ProviderRejected()},
        {"error": ContextTooLong()},
        {"error": ProviderTimeout()},
        {"reason": "content_filter"},
        {"reason": "cancelled"},
        {"reason": "length"},
    ],
    ids=["rejected", "too long", "timeout", "filtered", "stopped", "only reasoning"],
)
@pytest.mark.parametrize("text", ["", " \n\t "])
def test_a_question_without_an_answer_is_left_out_until_it_has_one(talk, end, text):
    unanswered = talk.exchange("unanswered", text, **end)
    talk.end(talk.retry(unanswered).claimed, "", reason="interrupted")
    following = talk.ask("next")
    assert talk.seen(following.claimed) == ["u:next"]
    talk.end(following.claimed, "n")
    talk.end(talk.retry(unanswered).claimed, "at last")
    expected = ["u:unanswered", "a:at last", "u:next", "a:n", "u:last"]
    assert talk.seen(talk.ask("last").claimed) == expected


def test_words_of_a_refusal_are_an_answer(talk):
    talk.exchange("one", "I will not.", reason="content_filter")
    assert talk.seen(talk.ask("two").claimed) == ["u:one", "a:I will not.", "u:two"]


def test_a_question_that_was_withdrawn_while_it_waited_is_left_out_until_it_is_asked_again(talk):
    withdrawn = talk.withdrawn("secret")
    before = talk.ask("next")
    assert talk.seen(before.claimed) == ["u:running", "a:ran", "u:next"]
    talk.end(before.claimed, "n")
    talk.end(talk.retry(withdrawn).claimed, "s")
    assert "u:secret" in talk.seen(talk.ask("last").claimed)
    assert talk.seen(before.claimed) == ["u:running", "a:ran", "u:next"]


@pytest.mark.parametrize("blank", ["", "  \n"])
def test_a_blank_system_prompt_is_not_sent(talk, blank):
    messages = talk.messages(talk.ask("hi").claimed, system_prompt=blank)
    assert messages == [{"role": "user", "content": "hi"}]


def test_what_is_read_is_bounded(talk):
    for n in range(12):
        talk.exchange(f"q{n}", "" if n % 2 else "a", error=ProviderRejected() if n % 2 else None)
    claimed = talk.ask("last").claimed
    with CaptureQueriesContext(connection) as few:
        assert talk.seen(claimed, max_history=3) == ["u:q10", "a:a", "u:last"]
    assert len(few) == 3
    with CaptureQueriesContext(connection) as none:
        talk.seen(claimed, max_history=1)
    assert len(none) == 1


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
        queries._cancel(talk.handle, client_frames.Cancel(turn=str(two.turn_id)))
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


ENDS = {
    "answered": ("text", {"reason": "stop"}),
    "partial": ("text", {"error": ProviderTimeout()}),
    "stopped": ("", {"reason": "cancelled"}),
    "interrupted": ("", {"reason": "interrupted"}),
    "failed": ("", {"error": ProviderTimeout()}),
    "only reasoning": ("", {"reason": "length"}),
    "blank": (" \n", {"reason": "stop"}),
    "rejected": ("", {"error": ProviderRejected()}),
    "too long": ("", {"error": ContextTooLong()}),
    "filtered": ("", {"reason": "content_filter"}),
}
JOINED = {"interrupted"}
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "ask", "retry", "edit", "withdraw", "clear"]),
        st.sampled_from(list(ENDS)),
        st.integers(0, 5),
    ),
    max_size=14,
)


class Known:
    """What a history should be, kept by a test beside the database: [question, answer or fate]."""

    def __init__(self):
        self.talk, self.exchanges, self.count = Talk(), [], 0

    def take(self, step, end, which):
        self.count += 1
        target = self.exchanges[-1 - which % len(self.exchanges)] if self.exchanges else None
        match step:
            case "clear" if self.exchanges:
                Session.objects.filter(id=self.talk.handle.id).update(
                    cleared_seq=Message.objects.filter(session=self.talk.handle.id).count()
                )
                self.exchanges = []
            case "withdraw":
                self.talk.withdrawn(f"w{self.count}")
                self.exchanges.append(["running", {"ran"}, None])
            case "retry" if target:
                self.finish(target, self.talk.retry(target[2]) if target[2] else None, end)
            case "edit" if target and target[2]:
                del self.exchanges[self.asked_at(target) :]
                self.ask(end, replaces=target[2].change.frames[0]["id"])
            case "ask":
                self.ask(end)

    def ask(self, end, **fields):
        done = self.talk.ask(f"q{self.count}", **fields)
        self.exchanges.append([f"q{self.count}", set(), done])
        self.finish(self.exchanges[-1], done, end)

    def finish(self, exchange, done, end):
        if done is None:
            return
        text, fields = ENDS[end]
        text = f"a{self.count}" if text == "text" else text
        self.talk.end(done.claimed, text, **fields)
        exchange[1].add(text if text.strip() else end)
        if text.strip():
            exchange[1] -= {each for each in exchange[1] if each[0] == "a" and each != text}

    def asked_at(self, exchange):
        return self.exchanges.index(exchange)

    def expected(self, query, max_history):
        """Newest first as many as there is room for, then oldest first with neighbours joined."""
        room, kept = max_history - 1, []
        for question, fates, _ in reversed(self.exchanges):
            answers = [each for each in fates if each not in ENDS]
            if not answers and not fates <= JOINED:
                continue
            room -= 1 + len(answers)
            if room < 0:
                break
            kept.append((question, answers))
        messages, run = [], []
        for question, answers in reversed(kept):
            run.append(question)
            if answers:
                messages += ["\n\n".join(run), *answers]
                run = []
        return [*messages, "\n\n".join([*run, query])]


@given(STEPS, st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_whatever_happened_the_roles_take_turns_and_the_newest_is_kept(steps, max_history):
    known = Known()
    for step in steps:
        known.take(*step)
    messages = known.talk.messages(known.talk.ask("query").claimed, max_history, "")
    roles = [message["role"] for message in messages]
    assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
    assert len(messages) <= max_history
    assert messages[-1]["content"].endswith("query")
    assert [message["content"] for message in messages] == known.expected("query", max_history)
