"""The judge of chaos runs goes red for each promise that a history breaks, and for no other."""

from copy import deepcopy

import pytest

from tests.chaos.judge import Asked, Held, Record, judge

S, T1, T2 = "session", "turn 1", "turn 2"


def query(seq, turn, ref):
    data = {"ref": ref, "turn": turn}
    return row(seq, "query", turn, f"ask {ref}", data)


def response(seq, turn, ref, text, reason="stop"):
    data = {"ref": ref, "turn": turn, "finish_reason": reason}
    return row(seq, "response", turn, text, data)


def row(seq, kind, turn, content, data):
    names = ("session_id", "seq", "type", "turn_id", "content", "partial", "data")
    return dict(zip(names, (S, seq, kind, turn, content, "", data), strict=True))


def turn(turn_id, number, **fields):
    plain = {
        "priority": 1,
        "started_before": number - 1,
        "state": "ended",
        "attempt": 1,
        "handed_back": 0,
    }
    return {"id": turn_id, "session_id": S, "number": number, **plain, **fields}


def seen(message):
    """A row as a client holds it."""
    plain = {key: message[key] for key in ("seq", "type", "content")}
    return {**plain, **message["data"]}


MESSAGES = [
    query(1, T1, "a"),
    response(2, T1, "a", "one two"),
    query(3, T2, "b"),
    response(4, T2, "b", "three"),
]
USED = {"rss_mb": 100.0, "descriptors": 20, "tasks": 9, "clients": 0, "groups": 0}


@pytest.fixture
def history():
    """Two queries, answered one after the other, and a client that saw it all."""
    held = {message["seq"]: seen(message) for message in MESSAGES}
    return {
        "sessions": [{"id": S, "last_seq": 4, "started": 2}],
        "messages": deepcopy(MESSAGES),
        "turns": [turn(T1, 1), turn(T2, 2)],
        "asked": [Asked("a", S, "one two", True, False), Asked("b", S, "three", True, False)],
        "held": [Held("tab", S, held, [(T1, 1, "one "), (T2, 1, "three")])],
        "before": [USED],
        "after": [dict(USED)],
    }


def problems(history):
    return judge(Record(**history))


def test_a_good_history_is_green(history):
    assert problems(history) == []


def test_an_unfinished_turn_is_lost(history):
    history["turns"][1]["state"] = "running"
    assert any("is running" in problem for problem in problems(history))


def test_a_turn_without_an_end_is_lost(history):
    del history["messages"][3]
    history["sessions"][0]["last_seq"] = 3
    assert f"lost: turn {T2} has 0 ends" in problems(history)


def test_a_second_end_is_doubled(history):
    again = response(5, T1, "a", "one two")
    history["messages"].append(again)
    history["sessions"][0]["last_seq"] = 5
    history["held"][0].frames[5] = seen(again)
    assert problems(history) == [f"doubled: turn {T1} has 2 ends"]


def test_a_received_query_that_is_not_stored_is_lost(history):
    history["asked"].append(Asked("c", S, "", True, False))
    assert problems(history) == ["lost: query c was received and is not stored"]


def test_a_query_without_an_answer_to_its_sending_is_lost(history):
    history["asked"].append(Asked("c", S, "", False, False))
    assert problems(history) == ["lost: query c was neither received nor refused"]


def test_a_refused_query_may_be_stored_by_a_copy_that_was_late_or_not_at_all(history):
    history["asked"][1] = Asked("b", S, "three", False, True)
    history["asked"].append(Asked("c", S, "", False, True))
    assert problems(history) == []


def test_a_query_that_is_stored_twice_is_doubled(history):
    history["messages"][2] = query(3, T2, "a")
    assert "doubled: query a is stored 2 times" in problems(history)


def test_a_query_in_another_session_is_mixed(history):
    history["asked"][1] = Asked("b", "other", "three", False, True)
    assert any(problem.startswith("mixed: query b") for problem in problems(history))


def test_a_gap_in_the_numbers_is_a_loss(history):
    history["sessions"][0]["last_seq"] = 5
    assert any("counts 5" in problem for problem in problems(history))


def test_a_turn_that_overtakes_an_older_one_is_reordered(history):
    history["turns"] = [turn(T1, 2, started_before=0), turn(T2, 1)]
    assert any(problem.startswith("reordered") for problem in problems(history))


def test_a_higher_priority_and_the_latest_interrupt_may_overtake(history):
    for priority in (2, 3):
        history["turns"] = [turn(T1, 2, started_before=0, priority=priority), turn(T2, 1)]
        assert problems(history) == []
    history["turns"] = [
        turn(T1, 2, started_before=0, priority=3),
        turn(T2, 1, started_before=0, priority=3),
    ]
    assert problems(history) == []


def test_a_turn_rises_with_the_starts_of_others(history):
    turns = [turn(f"t{n}", n, priority=2, started_before=max(n - 2, 0)) for n in range(2, 14)]
    turns.insert(8, turn("t1", 1, priority=0, started_before=0))  # after eight others
    messages = [response(n, each["id"], "x", "") for n, each in enumerate(turns, 1)]
    history = {"sessions": [], "messages": messages, "turns": turns, "asked": []}
    assert problems(history) == []
    early = [*turns[:6], turns[8], *turns[6:8], *turns[9:]]
    for n, each in enumerate(early, 1):
        messages[n - 1]["turn_id"] = each["id"]
    assert any(problem.startswith("reordered") for problem in problems(history))


def test_an_answer_to_something_else_is_mixed(history):
    history["messages"][3]["content"] = history["held"][0].frames[4]["content"] = "one two"
    assert any(problem.startswith("mixed: the answer to b") for problem in problems(history))


def test_an_answer_that_stops_early_and_says_that_it_is_whole_is_a_loss(history):
    history["messages"][1]["content"] = history["held"][0].frames[2]["content"] = "one "
    assert problems(history) == ["lost: the answer to a stops after 4 of 7"]


def test_a_frame_that_a_client_lacks_is_lost(history):
    del history["held"][0].frames[3]
    assert problems(history) == ["lost: tab lacks [3] of 4"]


def test_a_frame_that_a_client_holds_differently_is_mixed(history):
    history["held"][0].frames[2]["content"] = "one two "
    assert any(problem.startswith("mixed: tab holds") for problem in problems(history))


def test_a_frame_of_nowhere_is_mixed(history):
    history["held"][0].frames[9] = seen(MESSAGES[0])
    assert problems(history) == ["mixed: tab holds 9, which is not stored"]


def test_deltas_that_do_not_add_up_are_mixed_unless_they_are_of_a_lost_attempt(history):
    history["held"][0].live[0] = (T1, 1, "one  two")
    assert any("put 'one  two' together" in problem for problem in problems(history))
    history["turns"][0]["attempt"] = 2
    assert problems(history) == []


def test_a_turn_that_was_stopped_after_its_process_died_may_have_lost_its_text(history):
    for message in (history["messages"][1], history["held"][0].frames[2]):
        message["content"] = ""
    history["messages"][1]["data"]["finish_reason"] = "cancelled"
    assert problems(history) == []
    history["messages"][1]["content"] = history["held"][0].frames[2]["content"] = "on"
    assert any("put 'one ' together" in problem for problem in problems(history))


@pytest.mark.parametrize("name", ["rss_mb", "descriptors", "tasks", "clients", "groups"])
def test_what_a_process_keeps_is_told(history, name):
    history["after"][0][name] += 1000
    assert len(problems(history)) == 1
    del history["after"][0][name]
    assert len(problems(history)) == 1


def test_too_many_database_connections_are_told(history):
    history["database_connections"] = (33, 32)
    assert len(problems(history)) == 1


def test_what_clients_and_logs_say_counts(history):
    history |= {"violations": ["a frame after the end"], "troubles": ["turn broke off"]}
    assert problems(history) == ["a frame after the end", "turn broke off"]
