"""How much of what a client sends is looked at: in slices, at the application's pace, bounded."""

import pytest

from agent.serving.flow_control import SLICE_BYTES, Intake


class Connection:
    """A server's connection, with an application that has to be asked to read."""

    def __init__(self):
        self.pieces, self.unread, self.reading, self.dropped = [], 0, True, False
        self.messages_per_piece = 0
        self.soon, self.now = [], 0.0
        self.intake = Intake(self, self.soon.append, lambda: self.now)

    def feed(self, piece):
        self.pieces.append(piece)
        self.unread += self.messages_per_piece

    def is_busy(self):
        return self.unread > 0

    def pause(self):
        self.reading = False

    def resume(self):
        self.reading = True

    def drop(self):
        self.dropped = True

    def turn_of_the_loop(self):
        due, self.soon[:] = list(self.soon), []
        for step in due:
            step()

    def application_reads(self):
        self.unread -= 1
        self.intake.go_on()


@pytest.fixture
def connection():
    return Connection()


def test_what_is_small_is_handed_on_at_once(connection):
    connection.intake.take(b"abc")
    assert connection.pieces == [b"abc"] and connection.reading


def test_what_is_large_is_handed_on_a_slice_at_a_time_in_order(connection):
    data = bytes(range(256)) * 100
    connection.intake.take(data)
    assert [len(piece) for piece in connection.pieces] == [SLICE_BYTES]
    assert not connection.reading, "nothing is read while something waits"
    while connection.soon:
        connection.turn_of_the_loop()
    assert b"".join(connection.pieces) == data
    assert max(map(len, connection.pieces)) == SLICE_BYTES
    assert connection.reading


def test_nothing_is_handed_on_while_the_application_has_unread_messages(connection):
    connection.messages_per_piece = 2
    connection.intake.take(b"x" * (SLICE_BYTES + 1))
    connection.turn_of_the_loop()
    assert len(connection.pieces) == 1 and not connection.reading
    connection.application_reads()
    connection.turn_of_the_loop()
    assert len(connection.pieces) == 1
    connection.application_reads()
    connection.turn_of_the_loop()
    assert len(connection.pieces) == 2 and not connection.reading
    connection.application_reads()
    connection.application_reads()
    assert connection.reading


def test_a_few_pings_are_fine_and_a_flood_is_the_end(connection):
    for second in range(20):
        connection.now = float(second)
        for _ in range(100):
            connection.intake.control_frame()
    assert not connection.dropped
    connection.intake.control_frame()
    assert connection.dropped


def test_a_message_of_endless_fragments_is_the_end(connection):
    connection.intake.fragment(1024)
    assert not connection.dropped
    connection.intake.fragment(1025)
    assert connection.dropped


def test_what_was_under_way_may_come_after_the_close_and_a_flood_may_not(connection):
    connection.intake.closing()
    connection.intake.take(b"x" * 2**20)
    for _ in range(1000):
        connection.intake.late_message()
    assert not connection.dropped
    connection.intake.late_message()
    assert connection.dropped


def test_endless_bytes_after_the_close_are_the_end(connection):
    connection.intake.closing()
    connection.intake.take(b"x" * 2**20)
    connection.intake.closing()
    connection.intake.take(b"x" * 2**20)
    assert connection.dropped
