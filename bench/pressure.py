"""What other clients notice while somebody else presses on the server, on PostgreSQL.

    python -m bench.pressure [--messages 100000] [--seconds 20] [--json FILE] [PRESSURE ...]

A scripted provider answers at once. Clients send pings and queries, one after the other, first on
the quiet server, then beside a flood of sign-ins, the deletion of a session with so many messages,
and thirty pages of history that nobody reads. Printed are the 99th percentiles of a ping and of
`received`, also as multiples of the quiet server's, and what must not happen: leases that were not
renewed, turns that were run more than once, errors. Everything is on loopback and ends by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx
import psycopg

from tests.client import Client
from tests.people import make
from tests.scripted_provider import scripted_process
from tests.servers import Server
from tests.services import start_postgres

_CLIENTS = 4
_SIGN_INS_AT_ONCE = 60
_UNREAD_PAGES = 30
_CHARS = 1000
#: The default limits of requests. Tries to sign in would be refused before they cost anything.
_ENVIRONMENT = {
    "MAX_SIGN_INS_PER_MINUTE": "1000000",
    "MAX_WRONG_PASSWORDS_PER_MINUTE": "1000000",
    "MAX_REQUESTS_PER_ADDRESS": "64",
    "MAX_REQUESTS_PER_USER": "8",
}


@dataclass
class Site:
    """The server under pressure, its database, and who calls it."""

    server: Server
    database: str
    token: dict[str, str]
    options: argparse.Namespace


@dataclass
class Seen:
    """What the clients met; times in seconds."""

    pings: list[float] = field(default_factory=list)
    receipts: list[float] = field(default_factory=list)
    errors: int = 0


Pressure = Callable[[Site], Awaitable[dict[str, Any]]]


# what presses


async def quiet(site: Site) -> dict[str, Any]:
    """Nothing."""
    await asyncio.sleep(site.options.seconds)
    return {}


async def sign_ins(site: Site) -> dict[str, Any]:
    """Wrong passwords, many at once."""
    statuses: dict[int, int] = {}

    async def guess(http: httpx.AsyncClient, number: int) -> None:
        await http.get("/login/")
        token = http.cookies["csrftoken"]
        until = time.monotonic() + site.options.seconds
        while time.monotonic() < until:
            fields = {"username": f"n{number}", "password": "x", "csrfmiddlewaretoken": token}
            answer = await http.post("/login/", data=fields)
            statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1

    async with AsyncExitStack() as stack:
        people = [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=site.server.url, timeout=120, verify=False)
            )
            for _ in range(_SIGN_INS_AT_ONCE)
        ]
        await asyncio.gather(*(guess(http, number) for number, http in enumerate(people)))
    return {"statuses": statuses}


async def deletion(site: Site) -> dict[str, Any]:
    """A large session is deleted through the API."""
    session = await asyncio.to_thread(_large_session, site.database, site.options.messages)
    began = time.monotonic()
    async with httpx.AsyncClient(base_url=site.server.url, timeout=600) as http:
        answer = await http.delete(f"/api/sessions/{session}/", headers=site.token)
        seconds = time.monotonic() - began
        while (  # noqa: ASYNC110
            _rows_of(site.database, session) and time.monotonic() - began < 600
        ):
            await asyncio.sleep(0.5)  # nobody tells
    gone = time.monotonic() - began
    await asyncio.sleep(max(site.options.seconds - gone, 0))
    return {"status": answer.status_code, "answered_s": seconds, "rows_gone_s": gone}


async def unread_pages(site: Site) -> dict[str, Any]:
    """Thirty clients ask for a page of long frames and read none of it."""
    session = await asyncio.to_thread(_large_session, site.database, 200, 100_000)
    head = f"GET /api/sessions/{session}/?limit=100 HTTP/1.1\r\nHost: localhost\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in site.token.items()) + "\r\n"
    loop = asyncio.get_running_loop()
    readers = []
    for _ in range(_UNREAD_PAGES):
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.setblocking(False)
        await loop.sock_connect(reader, ("127.0.0.1", site.server.port))
        await loop.sock_sendall(reader, head.encode())
        readers.append(reader)
    await asyncio.sleep(site.options.seconds)
    for reader in readers:
        reader.close()
    return {"pages": len(readers)}


PRESSURES: dict[str, Pressure] = {
    "quiet": quiet,
    "sign-ins": sign_ins,
    "deletion": deletion,
    "unread-pages": unread_pages,
}


def _large_session(database: str, messages: int, chars: int = _CHARS) -> str:
    """A session of the token's, with notifications of so many characters each, made by SQL."""
    key = str(uuid.uuid4())
    with psycopg.connect(database) as connection:
        (owner,) = connection.execute(  # type: ignore[misc]
            "SELECT id FROM auth_user WHERE username = 'ann'"
        ).fetchone()
        now = "clock_timestamp()"
        connection.execute(
            "INSERT INTO agent_session SELECT (jsonb_populate_record(NULL::agent_session,"
            " jsonb_build_object('id', %s::text, 'owner_id', %s::int, 'visitor', '', 'title', '',"
            " 'last_seq', %s::int, 'enqueued', 0, 'started', 0, 'cleared_seq', 0,"
            f" 'closing', false, 'created_at', {now}, 'changed_at', {now},"
            f" 'last_activity_at', {now}))).*",
            (key, owner, messages),
        )
        connection.execute(
            "INSERT INTO agent_message (id, session_id, seq, type, content, partial, data,"
            f" created_at) SELECT gen_random_uuid(), %s, n, 'notification', repeat('x', %s), '',"
            f" jsonb_build_object('event', 'message', 'level', 'info', 'id', n::text), {now}"
            " FROM generate_series(1, %s) AS n",
            (key, chars, messages),
        )
    return key


def _rows_of(database: str, session: str) -> bool:
    with psycopg.connect(database, autocommit=True) as connection:
        rows = "SELECT EXISTS (SELECT FROM agent_message WHERE session_id = %s)"
        (found,) = connection.execute(rows, (session,)).fetchone()  # type: ignore[misc]
        return bool(found)


# who must not notice


async def ping(client: Client, seen: Seen) -> None:
    """Ten pings a second, until it is cancelled."""
    while True:
        began = time.perf_counter()
        await client.quiet()
        seen.pings.append(time.perf_counter() - began)
        await asyncio.sleep(0.1)


async def ask(client: Client, seen: Seen) -> None:
    """Queries, one after the other, until it is cancelled."""
    while True:
        began = time.perf_counter()
        ref = await client.ask("say: fine")
        answer = await client.reply(ref)
        if answer["type"] == "error":
            seen.errors += 1
            await asyncio.sleep(answer.get("retry_after") or 1)
        else:
            seen.receipts.append(time.perf_counter() - began)
            if (await client.end(ref))["type"] == "error":
                seen.errors += 1
        await asyncio.sleep(0.2)


async def measure(site: Site, pressure: Pressure) -> dict[str, Any]:
    """One pressure, with what the clients saw beside it."""
    seen = Seen()
    log = len(site.server.log)
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(site.server.connect(headers=site.token))
            for _ in range(_CLIENTS)
        ]
        long = await clients[0].ask("mode=slow tokens=1000000 delay=0.05")
        await clients[0].expect("delta")
        asking = [asyncio.create_task(ping(clients[1], seen))]
        asking += [asyncio.create_task(ask(client, seen)) for client in clients[2:]]
        facts = await pressure(site)
        for task in asking:
            task.cancel()
        for outcome in await asyncio.gather(*asking, return_exceptions=True):
            if not isinstance(outcome, asyncio.CancelledError):
                seen.errors += 1
                print(f"a client broke off: {outcome}"[:500])
        await clients[0].command("cancel")
        await clients[0].end(long)
    with psycopg.connect(site.database, autocommit=True) as connection:
        query = "SELECT count(*) FROM agent_turn WHERE attempt > 1"
        (twice,) = connection.execute(query).fetchone()  # type: ignore[misc]
    return {
        "pings": len(seen.pings),
        "ping_p99_ms": _p99(seen.pings),
        "receipts": len(seen.receipts),
        "received_p99_ms": _p99(seen.receipts),
        "errors": seen.errors,
        "leases_lost": site.server.log[log:].count("leases were not renewed"),
        "turns_run_twice": twice,
        **facts,
    }


def _p99(seconds: list[float]) -> float:
    if len(seconds) < 2:
        return max(seconds, default=0.0) * 1000
    return quantiles(seconds, n=100, method="inclusive")[98] * 1000


def with_ratios(results: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The results, each with its times as multiples of the quiet server's."""
    base = results["quiet"]
    for result in results.values():
        for name in ("ping", "received"):
            quiet_ms = base[f"{name}_p99_ms"] or 1
            result[f"{name}_ratio"] = round(result[f"{name}_p99_ms"] / quiet_ms, 2)
    return results


async def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are ended
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=100_000, help="of the deleted session")
    parser.add_argument("--seconds", type=float, default=20, help="of each pressure, at least")
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("pressures", nargs="*", choices=[*PRESSURES, []])
    options = parser.parse_args()
    wanted = dict.fromkeys(["quiet", *(options.pressures or PRESSURES)])
    results: dict[str, dict[str, Any]] = {}
    with scripted_process() as provider, start_postgres() as postgres:
        database = postgres.create_database()
        environment = {"DATABASE_URL": database, **_ENVIRONMENT}
        server = Server(provider.base_url, environment=environment)
        server.manage("migrate", "--verbosity", "0")
        token = make(server, {"ann": {}}, {"bench": {"user": "ann"}})["bench"]
        with server, suppress(KeyboardInterrupt):
            for name in wanted:
                site = Site(server, database, token, options)
                results[name] = await measure(site, PRESSURES[name])
                print(name, json.dumps(with_ratios(results)[name]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(with_ratios(results), indent=2) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
