"""Which durable frame a client is sent next, and whether it is a replay or news to it."""

import pytest

from agent.connection.log_cursor import LogCursor, replay_start


def frames(*seqs):
    return [{"seq": seq} for seq in seqs]


def test_a_page_of_rows_is_handed_out_in_order_and_frames_that_were_sent_are_skipped():
    cursor = LogCursor()
    cursor.replay(2, 5)
    assert cursor.next_of_page() is None
    cursor.fill(frames(3, 4, 5))
    assert cursor.next_of_page() == {"seq": 3}
    cursor.advance(3)
    cursor.advance(4)  # it came from the topic
    assert cursor.next_of_page() == {"seq": 5}
    cursor.advance(5)
    assert cursor.next_of_page() is None


def test_a_hole_in_the_page_is_not_jumped_over():
    cursor = LogCursor()
    cursor.fill(frames(2))
    assert cursor.next_of_page() is None


def test_a_second_replay_forgets_the_page_of_the_first():
    cursor = LogCursor()
    cursor.replay(0, 3)
    cursor.fill(frames(1, 2, 3))
    cursor.replay(1, 3)
    assert cursor.next_of_page() is None


def test_frames_up_to_the_snapshot_are_a_replay_and_no_news():
    cursor = LogCursor()
    cursor.connect(3)
    cursor.replay(1, 3)
    assert cursor.is_replay(2) and cursor.is_replay(3) and not cursor.is_replay(4)
    assert not cursor.advance(2)
    assert not cursor.advance(3)
    assert cursor.advance(4)
    cursor.replay(0, 4)
    assert cursor.is_replay(4)
    assert not cursor.advance(4)  # it was news the first time


def test_a_frame_of_a_replay_that_the_client_never_had_is_news():
    cursor = LogCursor()
    cursor.connect(1)
    cursor.replay(0, 2)
    assert not cursor.advance(1)
    assert cursor.is_replay(2)
    assert cursor.advance(2)


@pytest.mark.parametrize(
    ("last_seq", "tail", "start"),
    [
        (0, None, 0),
        (4, None, 4),
        (10, None, 10),
        (11, None, 0),
        (-1, None, 0),
        (4, 3, 7),
        (4, 30, 0),
        (4, 0, 10),
        (4, -1, 0),
    ],
)
def test_a_number_out_of_range_asks_for_everything(last_seq, tail, start):
    assert replay_start(10, last_seq, tail) == start
