"""Runs the tests of the browser modules that need no browser: tests/js/*.test.mjs."""

import pytest

from tests.support import ROOT
from tests.support.node import run_node


@pytest.mark.node
def test_the_javascript_client_passes_its_own_tests() -> None:
    files = sorted(str(path) for path in (ROOT / "tests" / "js").glob("*.test.mjs"))
    assert files
    run = run_node("--test", *files)
    assert run.returncode == 0, run.stdout + run.stderr
