"""The chaos run on the command line: see docs/reliability.md.

Ends with status 0 when every promise was kept, 1 when not.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
from pathlib import Path

from .faults import KINDS
from .launch import SABOTAGES
from .run import Plan, run


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=180, help="length of the storm")
    parser.add_argument("--seed", type=int, help="of everything random; absent: a new one")
    parser.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--processes", type=int, help="servers; 2 with postgres, 1 with sqlite")
    parser.add_argument("--people", type=int, default=12)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS, help="kinds of faults")
    parser.add_argument("--between", nargs=2, type=float, default=(1.0, 4.0), metavar="SECONDS")
    parser.add_argument("--faulty-layer", action="store_true", help="bad news between processes")
    names = "; ".join(f"{name}: {what}" for name, what in SABOTAGES.items())
    parser.add_argument("--break", dest="broken", choices=SABOTAGES, default="", help=names)
    parser.add_argument("--output", type=Path, help="file for the whole report, as JSON")
    return parser.parse_args()


def main() -> int:
    arguments = _arguments()
    seed = secrets.randbelow(10**6) if arguments.seed is None else arguments.seed
    processes = arguments.processes or (2 if arguments.database == "postgres" else 1)
    plan = Plan(
        seconds=arguments.seconds,
        seed=seed,
        database=arguments.database,
        processes=processes,
        people=arguments.people,
        only=tuple(arguments.only),
        between=tuple(arguments.between),
        faulty_layer=arguments.faulty_layer,
        broken=arguments.broken,
    )
    print(f"seed {seed}: {plan.seconds:g} s of faults", flush=True)
    report = asyncio.run(run(plan))
    if arguments.output:
        arguments.output.write_text(report.as_json())
    print(report.as_text())
    return 0 if report.verdict == "green" else 1


if __name__ == "__main__":
    sys.exit(main())
