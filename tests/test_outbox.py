"""Ephemeral frames wait for the message that they are about, in order and within bounds."""

import pytest

from agent.connection import send_queue
from agent.connection.send_queue import Outbox, Overflow


def test_frames_come_in_order_and_not_before_their_message():
    box = Outbox()
    box.put(3, {"n": 1}, 10)
    box.put(0, {"n": 2}, 10)
    assert box.pop(2) is None
    assert box.waits_for == 3
    assert [box.pop(3), box.pop(3), box.pop(3)] == [(3, {"n": 1}), (0, {"n": 2}), None]
    assert box.waits_for == 0


def test_too_many_bytes_overflow_and_reading_makes_room():
    box = Outbox()
    box.put(0, {}, send_queue.MAX_BYTES)
    with pytest.raises(Overflow):
        Outbox().put(0, {}, send_queue.MAX_BYTES + 1)
    box.pop(0)
    box.put(0, {}, send_queue.MAX_BYTES)


def test_too_many_frames_overflow():
    box = Outbox()
    for _ in range(send_queue.MAX_FRAMES):
        box.put(0, {}, 1)
    with pytest.raises(Overflow):
        box.put(0, {}, 1)
