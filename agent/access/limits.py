"""What a caller or an address may do: counts against the limits of `limit_table`.

What counts over processes is counted here first, then in Redis where it is there. Redis is never
waited for longer than `SHARED_SECONDS`, and left alone for a while after a failure: then, and
without Redis, this process's own counts hold, so that a caller may do as much again in each process
(open on purpose: an outage of Redis must not be one of the service). What is refused is
`RateLimited`, always with `retry_after`, and a caller that stays below a limit is never refused.
"""

from __future__ import annotations

import asyncio
import math
import time
from ipaddress import IPv6Address, ip_address
from typing import Any

from agent.actor import Actor
from agent.conf import Conf
from agent.errors import RateLimited

from .connection_slots import LEASE_SECONDS, RENEW_SECONDS, Slot, Slots
from .frame_rate import SHARE_SECONDS, Frames
from .limit_counters import SHARED_SECONDS, Rate, Shared
from .limit_table import HOUR, MINUTE, Limit, What, Who, table

__all__ = ["SHARED_SECONDS", "Limits", "address_of", "caller_of"]

_IPV6_SUBSCRIBER_BITS = 64
_LONGEST_ADDRESS = 64


def address_of(scope: dict[str, Any]) -> str:
    """The client's address as it is counted: of IPv6 the /64, which one subscriber has."""
    client = scope.get("client")
    text = str(client[0])[:_LONGEST_ADDRESS] if client else ""
    try:
        address = ip_address(text)
    except ValueError:
        return text  # a Unix socket, or what a trusted proxy says
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    host_bits = 128 - _IPV6_SUBSCRIBER_BITS
    return f"{IPv6Address(int(address) >> host_bits << host_bits)}/{_IPV6_SUBSCRIBER_BITS}"


def caller_of(actor: Actor, address: str) -> str:
    """Under which name a caller is counted.

    A program of nobody is its address, also when it comes back with the resume token of one of its
    sessions: it can have as many of those as it likes.
    """
    is_anonymous = actor.is_anonymous or actor.session_id is not None
    return f"address:{address}" if is_anonymous else actor.key


#: Not a limit: one hit says that a user name signed in from an address within the hour.
_KNOWN = Limit("sign-ins", "user name", 1, HOUR, "")


class Limits:
    """The limits of this process."""

    def __init__(self, conf: Conf) -> None:
        self._shared = Shared(conf.redis_url)
        self._limits = {(limit.what, limit.who): limit for limit in table(conf)}
        self._rates = {
            (limit.what, limit.who): Rate(limit, self._shared)
            for limit in self._limits.values()
            if limit.seconds >= MINUTE
        }
        self._frames = Frames(conf.max_frames_per_second, conf.max_connections_per_user)
        self._slots = Slots(self._shared.redis)
        self._requests = Slots()
        self._left = asyncio.Condition()
        self._known = Rate(_KNOWN, self._shared)

    # connections

    async def connecting(self, address: str) -> None:
        """Count a new connection from an address.

        Raises:
            RateLimited: there were MAX_CONNECTS_PERMINUTE already.
        """
        await self._count("connects", "address", address)

    async def open(self, caller: str, address: str = "") -> Slot:
        """Take one of the caller's MAX_CONNECTIONS_PER_USER, and one of its address's.

        Give both back with `close`.

        Raises:
            RateLimited: all are taken.
        """
        of_address = await self._open("address", f"from:{address}") if address else None
        try:
            return await self._open("caller", caller, of_address)
        except RateLimited:
            if of_address:
                await self.close(of_address)
            raise

    async def _open(self, who: Who, key: str, beside: Slot | None = None) -> Slot:
        limit = self._limits["connections", who]
        slot = self._slots.take(key, limit.most, beside)
        if slot and await self._shared.ask(lambda: self._slots.share(slot)) is not False:
            return slot
        if slot:
            self._slots.forget(slot)
        raise _refused(limit, LEASE_SECONDS)

    async def close(self, slot: Slot) -> None:
        """Give a connection's places back."""
        for one in filter(None, (slot, slot.beside)):
            self._slots.forget(one)
            await self._shared.ask(lambda one=one: self._slots.unshare(one))  # type: ignore[misc]

    # what is sent on them

    def frame(self, caller: str) -> None:
        """Count a frame; waits for nothing.

        Raises:
            RateLimited: there were MAX_FRAMES_PER_SECOND already.
        """
        if wait := self._frames.hit(caller, time.monotonic()):
            raise _refused(self._limits["frames", "caller"], wait)

    async def query(self, caller: str, shared_bucket: str = "") -> None:
        """Count something that asks the model.

        Args:
            caller: who asks.
            shared_bucket: of a visitor the address; together its visitors may ask ten times as
                often as one.

        Raises:
            RateLimited: there were MAX_QUERIES_PERMINUTE already.
        """
        await self._count("queries", "caller", caller)
        await self._count("queries", "visitors' address", shared_bucket)
        await self._count("writes", "anonymous address", _anonymous(caller, shared_bucket))

    async def write(self, caller: str, address: str = "", shared_bucket: str = "") -> None:
        """Count something else that writes a row: a title, a judgement, a deletion.

        Args:
            caller: who does it.
            address: where it comes from.
            shared_bucket: as for `query`.

        Raises:
            RateLimited: there were MAX_WRITES_PERMINUTE already, or ten times as many from there.
        """
        await self._count("writes", "caller", caller)
        await self._count("writes", "address", address)
        await self._count("writes", "anonymous address", _anonymous(caller, shared_bucket))

    async def notification(self, caller: str) -> None:
        """Count a notification from outside.

        Raises:
            RateLimited: there were ten times MAX_WRITES_PERMINUTE already.
        """
        await self._count("notifications", "caller", caller)

    # plain HTTP

    async def request(self, who: Who, key: str, wait_seconds: float) -> Slot:
        """Wait for a place for an unfinished request; give it back with `end_request`.

        Raises:
            RateLimited: nobody gave one back in time.
        """
        limit = self._limits["requests under way", who]
        name = f"{who}:{key}"
        if slot := self._requests.take(name, limit.most):
            return slot
        try:
            async with asyncio.timeout(wait_seconds), self._left:
                while True:
                    if slot := self._requests.take(name, limit.most):
                        return slot
                    await self._left.wait()
        except TimeoutError:
            raise _refused(limit, wait_seconds) from None

    async def end_request(self, slot: Slot) -> None:
        self._requests.forget(slot)
        async with self._left:
            self._left.notify_all()

    async def trying_token(self, address: str) -> None:
        """Refuse to look a token up for an address that sent too many bad ones, good or not.

        Raises:
            RateLimited: there were MAX_CONNECTS_PERMINUTE bad ones.
        """
        limit, rate = self._of("bad tokens", "address")
        if wait := await rate.full(address):
            raise _refused(limit, wait)

    async def bad_token(self, address: str) -> None:
        """Count a bad token.

        Raises:
            RateLimited: as `trying_token`.
        """
        await self._count("bad tokens", "address", address)

    # signing in

    async def signing_in(self, address: str) -> None:
        """Count a try to sign in.

        Raises:
            RateLimited: there were MAX_SIGN_INS_PERMINUTE from there already.
        """
        await self._count("sign-ins", "address", address)

    async def guessing(self, address: str, name: str) -> None:
        """Count a try for a user name, which `signed_in` takes back.

        An address from which this name signed in within the last hour has a count of its own:
        somebody who guesses elsewhere locks nobody out of the place where they work.

        Raises:
            RateLimited: there were MAX_WRONG_PASSWORDS_PERMINUTE wrong ones already.
        """
        await self._count("wrong passwords", "user name", await self._name_here(address, name))

    async def signed_in(self, address: str, name: str) -> None:
        """The password was right."""
        _, rate = self._of("wrong passwords", "user name")
        await rate.forget(await self._name_here(address, name))
        await self._known.hit(f"{name}:{address}")

    async def _name_here(self, address: str, name: str) -> str:
        here = f"{name}:{address}"
        return here if await self._known.full(here) else name

    # how

    def _of(self, what: What, who: Who) -> tuple[Limit, Rate]:
        return self._limits[what, who], self._rates[what, who]

    async def _count(self, what: What, who: Who, key: str) -> None:
        """Count one, unless there is nobody to count it for."""
        limit, rate = self._of(what, who)
        if key and (wait := await rate.hit(key)):
            raise _refused(limit, wait)

    async def aclose(self) -> None:
        """Let go of Redis."""
        if self._shared.redis:
            await self._shared.redis.aclose(close_connection_pool=True)

    # steps of the process, for `maintenance.forever`

    async def renew(self) -> None:
        """Keep the places of this process; those of a dead process end by themselves."""
        await asyncio.sleep(RENEW_SECONDS)
        for some in self._slots.parts():
            await self._shared.ask(lambda some=some: self._slots.renew(some))  # type: ignore[misc]

    async def share_frames(self) -> None:
        """Add up what busy callers send to all processes, and refuse those above the limit."""
        await asyncio.sleep(SHARE_SECONDS)
        for caller, number in self._frames.to_share(time.monotonic()):
            if total := await self._shared.ask(
                lambda caller=caller, number=number: self._shared.add(caller, number)  # type: ignore[misc]
            ):
                self._frames.note_total(caller, total, time.monotonic())


def _anonymous(caller: str, shared_bucket: str) -> str:
    """The address of a caller that did not sign in; empty for all others."""
    kind, _, address = caller.partition(":")
    return shared_bucket or (address if kind == "address" else "")


def _refused(limit: Limit, seconds: float) -> RateLimited:
    seconds = max(math.ceil(seconds * 10) / 10, 0.1)
    when = f" Try again in {math.ceil(seconds)} s." if limit.seconds >= MINUTE else ""
    return RateLimited(limit.words + when, retry_after=seconds)
