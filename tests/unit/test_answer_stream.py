"""What a connection may still be told of a turn, whatever order messages come in."""

from uuid import uuid4

import pytest

from agent.connection.answer_stream import DELTA_SECONDS, AnswerStream
from agent.live.hub import Answer, Topic


@pytest.fixture
def told():
    return AnswerStream(Topic(uuid4()))


def status(kind, turn, **fields):
    return {"type": "status", "status": kind, "turn": str(turn), **fields}


def test_an_attempt_is_told_once_and_not_after_a_later_one(told):
    turn = uuid4()
    assert told.begin(turn, 1)
    assert not told.begin(turn, 1)
    assert told.begin(turn, 2)
    assert not told.begin(turn, 1)
    assert told.is_answering(Answer(turn, 2, "", "here", 1))
    assert not told.is_answering(Answer(turn, 1, "", "here", 1))


def test_a_replay_begins_the_running_attempt_anew(told):
    turn = uuid4()
    told.begin(turn, 1)
    told.begin_replay(turn, 1)
    assert told.is_answering(Answer(turn, 1, "", "here", 1))
    assert not told.begin(turn, 1)


def test_steps_of_a_turn_that_ended_are_late(told):
    turn = uuid4()
    kinds = ("queued", "thinking", "restarted")
    assert not any(told.is_late(1, status(kind, turn, attempt=1), 1) for kind in kinds)
    told.end(str(turn))
    assert told.has_ended(turn, 1, 1)
    assert all(told.is_late(1, status(kind, turn, attempt=2), 1) for kind in kinds)
    assert not told.is_late(1, status("done", turn), 1)


def test_a_position_is_late_after_the_start_and_a_restart_after_its_attempt(told):
    turn = uuid4()
    told.begin(turn, 2)
    assert told.is_late(1, status("queued", turn), 1)
    assert told.is_late(1, status("restarted", turn, attempt=2), 1)
    assert not told.is_late(1, status("restarted", turn, attempt=3), 1)
    assert told.is_late(1, status("restarted", turn, attempt=3), 1)


def test_an_older_attempt_is_not_told_after_a_restart(told):
    """A process that was frozen tells of its attempt when another one has the turn already."""
    turn = uuid4()
    assert not told.is_late(1, status("restarted", turn, attempt=2), 1)
    assert not told.begin(turn, 1)
    assert not told.is_answering(Answer(turn, 1, "", "here", 1))
    assert told.is_late(1, status("queued", turn), 1)
    assert told.begin(turn, 2)
    assert not told.begin(turn, 2)


def test_a_restart_ends_the_text_of_the_attempt_before_it(told):
    turn = uuid4()
    told.begin(turn, 1)
    assert not told.is_late(1, status("restarted", turn, attempt=2), 1)
    assert not told.is_answering(Answer(turn, 1, "", "here", 1))


def test_a_step_that_comes_together_with_the_end_is_told_before_it_and_not_after():
    topic, turn = Topic(uuid4()), uuid4()
    told = AnswerStream(topic)
    topic.apply(2, [{"type": "response", "seq": 2, "turn": str(turn), "content": ""}], [])
    assert not told.is_late(1, status("thinking", turn, attempt=1), 1)
    assert told.is_late(1, status("thinking", turn, attempt=1), 2)


def test_an_end_that_only_the_database_knew_counts_for_who_is_past_it():
    topic, turn = Topic(uuid4()), uuid4()
    told = AnswerStream(topic)
    topic.compare(4, [])
    assert not told.is_late(1, status("thinking", turn, attempt=1), 3)
    assert told.is_late(1, status("thinking", turn, attempt=1), 4)


def test_what_is_kept_of_ended_turns_is_bounded(told):
    first = uuid4()
    told.end(str(first))
    for _ in range(64):
        told.end(str(uuid4()))
    assert not told.has_ended(first, 1, 1)


def answering(**texts):
    """A client that was sent `thinking` of an answer, and the answer."""
    answer = Answer(uuid4(), 1, "", "here", 1, **texts)
    stream = AnswerStream(Topic(uuid4()))
    stream.begin(answer.turn_id, 1)
    return stream, answer


def pieces(stream, answer):
    """The next pieces, as (type, first, index, content)."""
    frames = list(stream.pieces(answer, now=0))
    return [(f["type"], f["first"], f["index"], f["content"]) for f in frames]


def test_reasoning_and_text_are_counted_apart_and_reasoning_comes_first():
    stream, answer = answering()
    assert not stream.is_behind(answer)
    answer.reasoning = "Hm"
    assert stream.is_behind(answer)
    assert pieces(stream, answer) == [("reasoning", 0, 1, "Hm")]
    answer.reasoning, answer.text = "Hm, so", "It is"
    assert pieces(stream, answer) == [("reasoning", 2, 5, ", so"), ("delta", 0, 4, "It is")]
    assert not stream.is_behind(answer)
    assert pieces(stream, answer) == []


def test_after_a_replay_each_text_begins_with_a_snapshot():
    stream, answer = answering(text="a", reasoning="r")
    stream.begin_replay(answer.turn_id, 1)
    assert [frame.get("snapshot") for frame in stream.pieces(answer, 0)] == [True, True]
    answer.text, answer.reasoning = "ab", "rs"
    assert [frame.get("snapshot") for frame in stream.pieces(answer, 0)] == [None, None]


def test_a_copy_of_the_texts_that_begins_anew_is_waited_for():
    stream, answer = answering(text="abc", reasoning="rst")
    pieces(stream, answer)
    answer.text, answer.reasoning = "a", "r"
    assert not stream.is_behind(answer)
    assert pieces(stream, answer) == []
    answer.text = "abcd"
    assert pieces(stream, answer) == [("delta", 3, 3, "d")]


def test_a_later_attempt_begins_the_texts_anew():
    stream, answer = answering(text="old")
    pieces(stream, answer)
    again = Answer(answer.turn_id, 2, "", "there", 1, text="new")
    assert stream.begin(again.turn_id, 2)
    assert pieces(stream, again) == [("delta", 0, 2, "new")]


def test_pieces_keep_a_distance_in_time():
    stream, answer = answering(text="a")
    assert stream.seconds_until_due(now=100) <= 0
    list(stream.pieces(answer, now=100))
    assert stream.seconds_until_due(now=100) == pytest.approx(DELTA_SECONDS)
    assert stream.seconds_until_due(now=100 + DELTA_SECONDS) <= 0
