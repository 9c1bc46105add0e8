"""Runs the tests of the browser modules that need no browser: tests/js/*.test.mjs."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.node
def test_the_javascript_client_passes_its_own_tests() -> None:
    node = shutil.which("node")
    assert node, "node is missing: install Debian's package nodejs"
    files = sorted(str(path) for path in (HERE / "js").glob("*.test.mjs"))
    assert files
    run = subprocess.run(
        [node, "--test", *files], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
