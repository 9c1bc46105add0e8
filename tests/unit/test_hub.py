"""What a process keeps of a session: bounded, and never a text of a turn that has ended."""

import gc
from uuid import uuid4

from agent.live.hub import Answer, Hub, Topic


class Subscriber:
    def __init__(self):
        self.told, self.wakes = [], 0

    def wake(self):
        self.wakes += 1

    def text_appended(self):
        self.wakes += 1

    def send_later(self, frame, after_seq=0):
        self.told.append((after_seq, frame))


def frame(seq, kind="query", turn="t", content="x"):
    return {"type": kind, "seq": seq, "turn": turn, "content": content}


def test_a_commit_wakes_listeners_and_tells_statuses():
    mine, subscriber = Topic(uuid4()), Subscriber()
    mine.subscribers.add(subscriber)
    mine.apply(2, [frame(1), frame(2)], [{"status": "queued"}])
    assert mine.last_seq == 2
    assert mine.recent(1) == frame(1)
    assert subscriber.told == [(2, {"status": "queued"})]
    assert subscriber.wakes


def test_recent_frames_are_bounded_by_number_and_by_size():
    mine = Topic(uuid4())
    for seq in range(1, 201):
        mine.apply(seq, [frame(seq)], [])
    assert mine.recent(100) is None
    assert mine.recent(200)
    mine.apply(201, [frame(201, content="x" * 10**6)], [])
    assert mine.recent(200) is None
    assert mine.last_seq == 201


def test_a_terminal_frame_ends_the_answer_and_nothing_revives_it():
    mine, turn = Topic(uuid4()), uuid4()
    answer = mine.begin(Answer(turn, 1, "", "w", 1))
    assert answer is mine.answer
    mine.apply(2, [frame(2, "response", str(turn))], [])
    assert mine.answer is None
    assert mine.has_ended(turn, 1)
    assert mine.begin(Answer(turn, 2, "", "w", 1)) is None


def test_a_later_attempt_replaces_the_text_and_an_earlier_one_does_not():
    mine, turn = Topic(uuid4()), uuid4()
    second = mine.begin(Answer(turn, 2, "", "w", 1))
    assert mine.begin(Answer(turn, 1, "", "v", 1)) is None
    assert mine.begin(Answer(turn, 2, "", "w", 1)) is second
    third = Answer(turn, 3, "", "u", 1)
    assert mine.begin(third) is third


def test_a_turn_that_the_database_does_not_list_has_ended_if_it_began_before_that():
    mine, old, new, later = Topic(uuid4()), uuid4(), uuid4(), uuid4()
    mine.begin(Answer(old, 1, "", "w", 1))
    mine.compare(4, [str(new)])
    assert mine.answer is None
    assert mine.has_ended(old, 3) and not mine.has_ended(new, 3) and not mine.has_ended(later, 4)
    assert mine.begin(Answer(old, 2, "", "w", 3)) is None
    mine.compare(2, [str(old)])  # a look that took long
    assert mine.has_ended(old, 3)


def test_a_text_of_an_older_turn_does_not_replace_the_running_ones():
    mine = Topic(uuid4())
    running = mine.begin(Answer(uuid4(), 1, "", "w", 5))
    assert mine.begin(Answer(uuid4(), 1, "", "w", 3)) is None
    assert mine.answer is running


def test_a_topic_lives_as_long_as_somebody_holds_it():
    hub, session_id = Hub(), uuid4()
    mine = hub.topic(session_id)
    assert hub.topic(session_id) is hub.get(session_id) is mine
    del mine
    gc.collect()
    assert hub.get(session_id) is None
    assert hub.topics() == []
