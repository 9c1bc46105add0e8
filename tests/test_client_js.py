"""Runs the tests of the browser modules that need no browser: tests/js/*.test.mjs."""

from pathlib import Path

import pytest

from tests.node import run_node

HERE = Path(__file__).parent


@pytest.mark.node
def test_the_javascript_client_passes_its_own_tests() -> None:
    files = sorted(str(path) for path in (HERE / "js").glob("*.test.mjs"))
    assert files
    run = run_node("--test", *files)
    assert run.returncode == 0, run.stdout + run.stderr
