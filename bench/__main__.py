"""Measures the server beside baselines, in rounds that alternate; prints a table.

    python -m bench [--rounds 3] [--json FILE] [--targets NAME ...] [CASE ...]

Figures are medians over the rounds; those in brackets are multiples of Starlette by hand in the
same rounds, which is what can be compared between machines. Everything is on loopback, with one
process for each server, one for the provider and one for all clients.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median

import uvloop

from . import targets
from .cases import CASES, Figures

_TARGETS = {
    "starlette": targets.starlette,
    "channels": targets.channels,
    "embedded": targets.embedded,
    "shared": targets.shared,
    "shared-2": targets.shared_by_two,
}
#: Without the names that only their own runs need.
_DEFAULT_TARGETS = ["starlette", "channels", "embedded", "shared"]
_DEFAULT_CASES = ["spread", "burst", "flood", "many", "idle"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], default=[], metavar="CASE")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--targets", nargs="+", choices=list(_TARGETS), default=_DEFAULT_TARGETS)
    options = parser.parse_args()
    targets.raise_limits()
    found: dict[str, dict[str, list[Figures]]] = {}
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(targets.provider())
        servers = [stack.enter_context(_TARGETS[name](provider)) for name in options.targets]
        for case in options.cases or _DEFAULT_CASES:
            figures: dict[str, list[Figures]] = defaultdict(list)
            for number in range(options.rounds):
                for server in servers[number % 2 :] + servers[: number % 2]:
                    figures[server.name].append(uvloop.run(_measured(case, server)))
                    print(".", end="", file=sys.stderr, flush=True)
            found[case] = figures
            _print(case, figures)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


async def _measured(case: str, server: targets.Target) -> Figures:
    async with asyncio.timeout(600):
        return await CASES[case](server)


def _print(case: str, figures: dict[str, list[Figures]]) -> None:
    first, *_ = figures
    columns = list(figures[first][0])
    print(f"\n| {case} | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    base = {column: median(one[column] for one in figures[first]) for column in columns}
    for name, rounds in figures.items():
        cells = []
        for column in columns:
            value = median(one[column] for one in rounds)
            times = f" ({value / base[column]:.2f})" if name != first and base[column] else ""
            cells.append(f"{value:.1f}{times}")
        print(f"| {name} | " + " | ".join(cells) + " |")
    print(flush=True)


if __name__ == "__main__":
    main()
