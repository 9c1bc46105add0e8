"""What a connection may still be told of a turn, whatever order messages come in."""

from uuid import uuid4

import pytest

from agent.connection.answer_stream import Progress, Told
from agent.live.hub import Answer, Group


@pytest.fixture
def told():
    return Told(Group(uuid4()))


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


def test_a_replay_tells_the_running_attempt_again(told):
    turn = uuid4()
    told.begin(turn, 1)
    told.start_anew()
    assert told.begin(turn, 1)


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


def test_a_step_that_comes_together_with_the_end_is_told_before_it_and_not_after():
    group, turn = Group(uuid4()), uuid4()
    told = Told(group)
    group.take(2, [{"type": "response", "seq": 2, "turn": str(turn), "content": ""}], [])
    assert not told.is_late(1, status("thinking", turn, attempt=1), 1)
    assert told.is_late(1, status("thinking", turn, attempt=1), 2)


def test_an_end_that_only_the_database_knew_counts_for_who_is_past_it():
    group, turn = Group(uuid4()), uuid4()
    told = Told(group)
    group.compare(4, [])
    assert not told.is_late(1, status("thinking", turn, attempt=1), 3)
    assert told.is_late(1, status("thinking", turn, attempt=1), 4)


def test_what_is_kept_of_ended_turns_is_bounded(told):
    first = uuid4()
    told.end(str(first))
    for _ in range(64):
        told.end(str(uuid4()))
    assert not told.has_ended(first, 1, 1)


def pieces(progress, answer):
    """What is sent next, as (type, first, index, content)."""
    frames = list(progress.pieces(answer))
    return [(f["type"], f["first"], f["index"], f["content"]) for f in frames]


def test_reasoning_and_text_are_counted_apart_and_reasoning_comes_first():
    progress, answer = Progress(), Answer(uuid4(), 1, "", "here", 1)
    assert not progress.is_behind(answer)
    answer.reasoning = "Hm"
    assert progress.is_behind(answer)
    assert pieces(progress, answer) == [("reasoning", 0, 1, "Hm")]
    answer.reasoning, answer.text = "Hm, so", "It is"
    assert pieces(progress, answer) == [("reasoning", 2, 5, ", so"), ("delta", 0, 4, "It is")]
    assert not progress.is_behind(answer)
    assert pieces(progress, answer) == []


def test_each_text_begins_with_a_snapshot_where_that_is_asked_for():
    progress, answer = Progress(), Answer(uuid4(), 1, "", "here", 1, text="a", reasoning="r")
    progress.begin(snapshots=True)
    assert [frame.get("snapshot") for frame in progress.pieces(answer)] == [True, True]
    answer.text, answer.reasoning = "ab", "rs"
    assert [frame.get("snapshot") for frame in progress.pieces(answer)] == [None, None]


def test_a_copy_of_the_texts_that_begins_anew_is_waited_for():
    progress, answer = Progress(), Answer(uuid4(), 1, "", "here", 1, text="abc", reasoning="rst")
    pieces(progress, answer)
    answer.text, answer.reasoning = "a", "r"
    assert not progress.is_behind(answer)
    assert pieces(progress, answer) == []
    answer.text = "abcd"
    assert pieces(progress, answer) == [("delta", 3, 3, "d")]
