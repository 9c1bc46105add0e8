"""`make fuzz`: mutated frames against live uvicorn and daphne.

    python -m tests.fuzz [--seconds 60] [--messages N] [--seed N] [--server NAME] [--report FILE]

Prints and writes the seed and what was counted; ends with 1 when a server crashed, answered with an
internal error, or closed or kept a connection that it must not. Bodies of HTTP requests are
`tests.fuzz_api`'s.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import signal
import sys
from pathlib import Path
from typing import Any

from tests.scripted_provider import scripted_process
from tests.servers import BACKENDS, Server

from .run import Failure, run


async def fuzz(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Fuzz each kind of server for its share of the time."""
    servers = options.server or BACKENDS
    told: list[dict[str, Any]] = []
    with scripted_process() as provider:
        for backend in servers:
            with Server(backend, provider.base_url) as server:
                try:
                    report = await run(
                        server,
                        options.seed,
                        seconds=options.seconds / len(servers),
                        messages=options.messages,
                    )
                    server.assert_nothing_broke()
                    told.append(report.as_dict())
                except (Failure, AssertionError) as error:
                    told.append(
                        {"server": backend, "seed": options.seed, "failure": str(error)[:4000]}
                    )
                print(json.dumps(told[-1]), flush=True)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="for all servers together")
    parser.add_argument("--messages", type=int, default=10**9, help="to each server, at most")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--server", action="append", choices=BACKENDS)
    parser.add_argument("--report", type=Path, default=Path("fuzz.json"))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are ended
    told = asyncio.run(fuzz(options))
    options.report.write_text(json.dumps(told, indent=2) + "\n")
    sys.exit(any("failure" in one for one in told))


if __name__ == "__main__":
    main()
