"""Counts what callers and addresses do against the limits of `limit_table`.

A limit over all processes is counted in this process first, and then in Redis if there is one. A
call to Redis takes `SHARED_SECONDS` at most, and after a failure Redis is not asked for a while.
During that time, and without Redis, only this process's counts apply, so a caller can do as much
again in each process. That is deliberate: an outage of Redis must not become an outage of the
service. A refusal is `RateLimited`, always with `retry_after`. A caller below its limits is never
refused.
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

#: The key in a plain HTTP request's scope of the slots that it holds.
REQUEST_SLOTS = "agent.slots"
#: How long an unfinished request waits until its address or caller has finished another.
WAIT_SECONDS = 10.0
_IPV6_SUBSCRIBER_BITS = 64
_LONGEST_ADDRESS = 64


def address_of(scope: dict[str, Any]) -> str:
    """Return the address under which a client is counted: for IPv6 its /64, one subscriber's."""
    client = scope.get("client")
    text = str(client[0])[:_LONGEST_ADDRESS] if client else ""
    try:
        address = ip_address(text)
    except ValueError:
        return text  # a Unix socket, or a name that a trusted proxy forwards
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    host_bits = 128 - _IPV6_SUBSCRIBER_BITS
    return f"{IPv6Address(int(address) >> host_bits << host_bits)}/{_IPV6_SUBSCRIBER_BITS}"


def caller_of(actor: Actor, address: str) -> str:
    """Return the key under which a caller is counted.

    An anonymous client is counted by its address, even when it shows the resume token of one of
    its sessions: it can create as many of those as it likes.
    """
    is_anonymous = actor.is_anonymous or actor.session_id is not None
    return f"address:{address}" if is_anonymous else actor.key


#: Not a limit: one hit records that a user name signed in from an address within the hour.
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
        self._request_ended = asyncio.Condition()
        self._known = Rate(_KNOWN, self._shared)

    # connections

    async def connecting(self, address: str) -> None:
        """Count a new connection from an address.

        Raises:
            RateLimited: the address reached MAX_CONNECTS_PERMINUTE.
        """
        await self._count("connects", "address", address)

    async def open(self, caller: str, address: str = "") -> Slot:
        """Take one of the caller's MAX_CONNECTIONS_PER_USER slots, and one of its address's.

        The caller of this function releases both with `close`.

        Raises:
            RateLimited: all slots are taken.
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
        """Release a connection's slots: the caller's and the address's."""
        for taken in filter(None, (slot, slot.beside)):
            self._slots.forget(taken)
            await self._shared.ask(lambda taken=taken: self._slots.unshare(taken))  # type: ignore[misc]

    # frames and commands

    def frame(self, caller: str) -> None:
        """Count a frame, without waiting for Redis.

        Raises:
            RateLimited: the caller reached MAX_FRAMES_PER_SECOND.
        """
        if wait := self._frames.hit(caller, time.monotonic()):
            raise _refused(self._limits["frames", "caller"], wait)

    async def query(self, caller: str, shared_bucket: str = "") -> None:
        """Count a request for an answer of the model.

        Args:
            caller: the key of `caller_of`.
            shared_bucket: for a visitor its address, else empty; all visitors of an address
                together may ask ten times as often as one.

        Raises:
            RateLimited: the caller reached MAX_QUERIES_PERMINUTE, or its address ten times that.
        """
        await self._count("queries", "caller", caller)
        await self._count("queries", "visitors' address", shared_bucket)
        await self._count("writes", "anonymous address", _anonymous(caller, shared_bucket))

    async def write(self, caller: str, address: str = "", shared_bucket: str = "") -> None:
        """Count any other request that writes a row: a title, feedback, a deletion.

        Args:
            caller: the key of `caller_of`.
            address: the client's address.
            shared_bucket: as for `query`.

        Raises:
            RateLimited: the caller reached MAX_WRITES_PERMINUTE, or its address ten times that.
        """
        await self._count("writes", "caller", caller)
        await self._count("writes", "address", address)
        await self._count("writes", "anonymous address", _anonymous(caller, shared_bucket))

    async def notification(self, caller: str) -> None:
        """Count a notification that an API client sends.

        Raises:
            RateLimited: the caller reached ten times MAX_WRITES_PERMINUTE.
        """
        await self._count("notifications", "caller", caller)

    # plain HTTP

    async def request(self, who: Who, key: str, wait_seconds: float) -> Slot:
        """Wait for a slot for an unfinished request; `end_request` releases it.

        Raises:
            RateLimited: no slot was released within `wait_seconds`.
        """
        limit = self._limits["requests under way", who]
        name = f"{who}:{key}"
        if slot := self._requests.take(name, limit.most):
            return slot
        try:
            async with asyncio.timeout(wait_seconds), self._request_ended:
                while True:
                    if slot := self._requests.take(name, limit.most):
                        return slot
                    await self._request_ended.wait()
        except TimeoutError:
            raise _refused(limit, wait_seconds) from None

    async def end_request(self, slot: Slot) -> None:
        """Release the slot of a request, and wake the requests that wait for one."""
        self._requests.forget(slot)
        async with self._request_ended:
            self._request_ended.notify_all()

    async def trying_token(self, address: str) -> None:
        """Refuse any token, valid or not, of an address that sent too many invalid ones.

        Raises:
            RateLimited: the address sent MAX_CONNECTS_PERMINUTE invalid tokens.
        """
        limit, rate = self._of("bad tokens", "address")
        if wait := await rate.full(address):
            raise _refused(limit, wait)

    async def bad_token(self, address: str) -> None:
        """Count an invalid token.

        Raises:
            RateLimited: as `trying_token`.
        """
        await self._count("bad tokens", "address", address)

    # signing in

    async def signing_in(self, address: str) -> None:
        """Count an attempt to sign in.

        Raises:
            RateLimited: the address reached MAX_SIGN_INS_PERMINUTE.
        """
        await self._count("sign-ins", "address", address)

    async def guessing(self, address: str, name: str) -> None:
        """Count a password for a user name as wrong, until `signed_in` resets the count.

        An address from which this name signed in within the last hour has a count of its own: an
        attacker who guesses from elsewhere does not lock the user out where they work.

        Raises:
            RateLimited: there were MAX_WRONG_PASSWORDS_PERMINUTE wrong passwords for the name.
        """
        await self._count("wrong passwords", "user name", await self._name_here(address, name))

    async def signed_in(self, address: str, name: str) -> None:
        """Reset the count of a user name whose password was right."""
        _, rate = self._of("wrong passwords", "user name")
        await rate.forget(await self._name_here(address, name))
        await self._known.hit(f"{name}:{address}")

    async def _name_here(self, address: str, name: str) -> str:
        here = f"{name}:{address}"
        return here if await self._known.full(here) else name

    # counting

    def _of(self, what: What, who: Who) -> tuple[Limit, Rate]:
        return self._limits[what, who], self._rates[what, who]

    async def _count(self, what: What, who: Who, key: str) -> None:
        """Count one for a key; an empty key has no count."""
        limit, rate = self._of(what, who)
        if key and (wait := await rate.hit(key)):
            raise _refused(limit, wait)

    async def aclose(self) -> None:
        """Close the connections to Redis."""
        if self._shared.redis:
            await self._shared.redis.aclose(close_connection_pool=True)

    # steps of the process, for `maintenance.forever`

    async def renew(self) -> None:
        """Renew the slots of this process; the slots of a dead process expire."""
        await asyncio.sleep(RENEW_SECONDS)
        for part in self._slots.parts():
            await self._shared.ask(lambda part=part: self._slots.renew(part))  # type: ignore[misc]

    async def share_frames(self) -> None:
        """Add up the frames of busy callers over all processes; refuse callers above the limit."""
        await asyncio.sleep(SHARE_SECONDS)
        for caller, number in self._frames.to_share(time.monotonic()):
            if total := await self._shared.ask(
                lambda caller=caller, number=number: self._shared.add(caller, number)  # type: ignore[misc]
            ):
                self._frames.note_total(caller, total, time.monotonic())


def _anonymous(caller: str, shared_bucket: str) -> str:
    """Return the address of a caller that did not sign in; empty for other callers."""
    kind, _, address = caller.partition(":")
    return shared_bucket or (address if kind == "address" else "")


def _refused(limit: Limit, seconds: float) -> RateLimited:
    seconds = max(math.ceil(seconds * 10) / 10, 0.1)
    when = f" Try again in {math.ceil(seconds)} s." if limit.seconds >= MINUTE else ""
    return RateLimited(limit.message + when, retry_after=seconds)
