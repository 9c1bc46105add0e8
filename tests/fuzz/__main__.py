"""`make fuzz`: mutated frames against a live server.

    python -m tests.fuzz [--seconds 60] [--messages N] [--seed N] [--report FILE]

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
from tests.servers import Server

from .run import Failure, run


async def fuzz(options: argparse.Namespace) -> dict[str, Any]:
    """Fuzz a server; what was seen, with a `failure` if there was one."""
    with scripted_process() as provider, Server(provider.base_url) as server:
        try:
            report = await run(
                server, options.seed, seconds=options.seconds, messages=options.messages
            )
            server.assert_nothing_broke()
        except (Failure, AssertionError) as error:
            return {"seed": options.seed, "failure": str(error)[:4000]}
        return report.as_dict()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="how long")
    parser.add_argument("--messages", type=int, default=10**9, help="at most")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--report", type=Path, default=Path("fuzz.json"))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are ended
    report = asyncio.run(fuzz(options))
    text = json.dumps(report, indent=2)
    options.report.write_text(text + "\n")
    print(text)
    sys.exit("failure" in report)


if __name__ == "__main__":
    main()
