"""The queue: its order, claims, leases, fences and ends, on the real database."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from agent.store import queue_order


@dataclass
class Place:
    number: int
    priority: int
    started_before: int = 0


# the order


def test_order_is_by_priority_then_age():
    low, first, second, high = Place(1, 0), Place(2, 1), Place(3, 1), Place(4, 2)
    assert queue_order.in_order([high, second, low, first], 0) == [high, first, second, low]


def test_interrupts_come_first_and_the_latest_of_them_before_the_others():
    high, one, two = Place(1, 2), Place(2, 3), Place(3, 3)
    assert queue_order.in_order([high, one, two], 0) == [two, one, high]


def test_four_starts_of_others_raise_a_turn_by_one_level():
    low, normal = Place(1, 0), Place(5, 1, started_before=2)
    assert queue_order.in_order([normal, low], 3) == [normal, low]
    assert queue_order.in_order([normal, low], 4) == [low, normal]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=200),
    st.integers(0, 2),
)
def test_the_wait_of_a_turn_is_bounded_whatever_comes_after_it(arrivals, priority):
    """At most the turns that were there before it, and eight starts of later ones, precede it."""
    queue = [Place(n, 2) for n in range(1, 6)]
    mine = Place(6, priority)
    queue.append(mine)
    started, number, arriving = 0, 6, iter(arrivals)
    while mine in queue:
        new_priority, count = next(arriving, (2, 1))
        for _ in range(count):
            number += 1
            queue.append(Place(number, new_priority, started))
        first = queue_order.in_order(queue, started)[0]
        queue.remove(first)
        started += 1
        assert started <= 5 + 8 + 1
