"""A short run of the HTTP fuzzer, so that it works when somebody wants a long one."""

import pytest

from tests.fuzz_api import Bodies, fuzz
from tests.servers import Server

pytestmark = [pytest.mark.server, pytest.mark.slow]
pytest_plugins = ["tests.servers"]


def test_a_seed_makes_the_same_bodies_again():
    first, again, other = (Bodies(seed, "s") for seed in (1, 1, 2))
    made = [first.next() for _ in range(50)]
    assert made == [again.next() for _ in range(50)]
    assert made != [other.next() for _ in range(50)]


async def test_mutated_bodies_are_answered_and_harm_nobody():
    with Server() as server:
        found = await fuzz(server, seed=3, seconds=60, most=200)
        assert found["failures"] == 0, found["first_failures"]
        assert found["sent"] >= 200
        assert {"202", "400", "415", "422"} <= set(found["statuses"])
        server.stop()
        server.assert_nothing_broke()
