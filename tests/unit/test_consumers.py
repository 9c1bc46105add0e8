"""What a connection began is done to its end, though the connection is not there any more."""

import asyncio
import gc

import pytest

from agent import consumers
from agent.errors import Busy


async def _end_connection(work):
    """Cancel what waits for the work, as a server does that goes down."""
    connection = asyncio.create_task(consumers._finish_despite_disconnect(work))
    await asyncio.sleep(0.01)
    connection.cancel()
    await asyncio.gather(connection, return_exceptions=True)


async def test_a_refusal_that_nobody_hears_any_more_troubles_nobody():
    troubles, done = [], asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context))

    async def refused():
        await asyncio.sleep(0.05)
        done.set()
        raise Busy

    await _end_connection(refused())
    await done.wait()
    await asyncio.sleep(0.01)
    gc.collect()
    assert troubles == []


async def test_a_refusal_is_told_while_there_is_somebody():
    async def refused():
        raise Busy

    with pytest.raises(Busy):
        await consumers._finish_despite_disconnect(refused())
