"""Fuzz the HTTP API of a real server: mutated bodies, each followed by waiting for its answer.

    python -m tests.fuzz_api --seconds 60 --seed 1 --output fuzz-http.json

It ends after that time, or after `--bodies`. Meanwhile a healthy client holds the session that the
bodies are about. The file gets the seed and what was counted; the exit status is 1 when something
was answered with a 5xx, with no JSON, or not at all.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.client import Client
from tests.servers import Server
from tests.services import HOST

WORKERS = 4
ODD: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1.5,
        10**30,
        1e308,
        "",
        " ",
        "\0",
        "\ud800",
        "\u2028",
        "😀",
        "é" * 40,
    ),
    *(
        [],
        {},
        [[]],
        {"a": {}},
        "x" * 65,
        "x" * 40_000,
        "' OR 1=1 --",
        "<script>",
        "../../etc",
        "%00",
    ),
]
LEVELS = ["info", "success", "warning", "error"]
KINDS = ["application/json"] * 8 + ["text/plain", "application/x-www-form-urlencoded", "", "a/b;;"]


class Bodies:
    """Requests of a seed: method, path, headers and body of each."""

    def __init__(self, seed: int, session: str) -> None:
        self._random, self._session = random.Random(seed), session

    def next(self) -> tuple[str, str, dict[str, str], bytes]:
        rng = self._random
        method, path, fields = rng.choice(
            [
                ("POST", "/api/notifications/", self._notification()),
                ("POST", "/functions/v1/notify_websocket", self._original()),
                ("PATCH", f"/api/sessions/{self._target()}/", {"title": "t"}),
            ]
        )
        for _ in range(rng.choice([0, 1, 1, 2, 3])):
            self._spoil(fields)
        body = json.dumps(fields).encode()
        if rng.random() < 0.4:
            body = self._mutated(body)
        return method, path, {"Content-Type": rng.choice(KINDS)}, body

    def _notification(self) -> dict[str, Any]:
        rng = self._random
        fields: dict[str, Any] = {"session": self._target(), "content": "hello"}
        fields |= {"level": rng.choice(LEVELS), "id": f"i{rng.randrange(50)}", "ttl": 60}
        return fields

    def _original(self) -> dict[str, Any]:
        return {"sessionId": self._target(), "message": "hello"}

    def _target(self) -> str:
        known = self._random.random() < 0.8
        unknown = UUID(int=self._random.getrandbits(128), version=4)
        return self._session if known else str(unknown)

    def _spoil(self, fields: dict[str, Any]) -> None:
        name = self._random.choice([*fields, "extra"])
        if self._random.random() < 0.2:
            fields.pop(name, None)
        else:
            fields[name] = self._random.choice(ODD)

    def _mutated(self, body: bytes) -> bytes:
        rng, data = self._random, bytearray(body)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(data) + 1)
            match rng.randrange(6):
                case 0:
                    data[place:place] = rng.randbytes(rng.randint(1, 8))
                case 1:
                    del data[place : place + rng.randint(1, 20)]
                case 2:
                    data[place:place] = data[: rng.randrange(len(data) + 1)]
                case 3:
                    data[place:place] = b"[" * rng.choice([1, 40, 5000])
                case 4:
                    data[place:place] = rng.choice([b'"', b"\\u0000", b"\\", b"NaN", b"9" * 400])
                case 5 if place < len(data):
                    data[place] ^= 1 << rng.randrange(8)
        return bytes(data)


class Run:
    """What was sent and how it was answered."""

    def __init__(self, server: Server, token: str, until: float, most: int) -> None:
        self._server, self._token = server, token
        self._until, self._left = until, most
        self.statuses: Counter[int] = Counter()
        self.failures: list[str] = []
        self.pings: list[float] = []

    @property
    def over(self) -> bool:
        return self._left <= 0 or time.monotonic() > self._until

    def work(self, bodies: Bodies) -> None:
        """Send one body after the other, on one connection as long as it is kept."""
        connection = http.client.HTTPConnection(HOST, self._server.port, timeout=30)
        while not self.over:
            self._left -= 1
            method, path, headers, body = bodies.next()
            headers |= {"Authorization": f"Bearer {self._token}"}
            try:
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                self._judge(response.status, response.read(), f"{method} {path} {body[:300]!r}")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{error!r} after {method} {path} {body[:300]!r}")
                connection.close()
        connection.close()

    def _judge(self, status: int, text: bytes, asked: str) -> None:
        self.statuses[status] += 1
        try:
            fine = status < 500 and ("error" in json.loads(text)) is (status >= 400)
        except ValueError:
            fine = False
        if not fine:
            self.failures.append(f"{status} {text[:300]!r} after {asked}")

    async def watch(self, client: Client) -> None:
        """Ping as a healthy client does, and take the time."""
        while not self.over:
            began = time.monotonic()
            await client.quiet()
            self.pings.append(time.monotonic() - began)
            await asyncio.sleep(0.1)


async def fuzz(server: Server, seed: int, seconds: float, most: int) -> dict[str, Any]:
    token = _token(server)
    async with server.connect(headers={"Authorization": f"Bearer {token}"}) as client:
        session = (await client.ready())["session"]
        memory = _resident_mib(server.pid)
        run = Run(server, token, time.monotonic() + seconds, most)
        began = time.monotonic()
        senders = [
            asyncio.to_thread(run.work, Bodies(seed * WORKERS + number, session))
            for number in range(WORKERS)
        ]
        await asyncio.gather(run.watch(client), *senders)
        pings = sorted(run.pings)
        return {
            "seed": seed,
            "seconds": round(time.monotonic() - began, 1),
            "sent": run.statuses.total() + len(run.failures),
            "statuses": {str(status): count for status, count in sorted(run.statuses.items())},
            "failures": len(run.failures),
            "first_failures": run.failures[:20],
            "healthy_ping_p99_ms": round(pings[int(len(pings) * 0.99)] * 1000, 1)
            if pings
            else None,
            "healthy_frames": client.transcript.last_seq,
            "memory_mib": [memory, _resident_mib(server.pid)],
        }


def _token(server: Server) -> str:
    scopes = ("--scope", "chat", "--scope", "notify")
    return server.manage("agent_token", "create", "--name", "fuzz", *scopes).split()[-1]


def _resident_mib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--bodies", type=int, default=10_000, help="at most")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--output", type=Path, help="default: standard output")
    options = parser.parse_args()
    with Server() as server:
        found = asyncio.run(fuzz(server, options.seed, options.seconds, options.bodies))
        server.stop()
        server.assert_nothing_broke()
    text = json.dumps(found, indent=2)
    if options.output:
        options.output.write_text(text + "\n")
    print(text)
    return 1 if found["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
