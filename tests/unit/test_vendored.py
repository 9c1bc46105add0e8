"""The vendored browser libraries are the ones that VENDORED.json names, byte for byte."""

import json
from hashlib import sha256

from tests.support import ROOT

VENDOR = ROOT / "agent" / "static" / "agent" / "vendor"
LIBRARIES = json.loads((VENDOR / "VENDORED.json").read_text())


def test_every_library_has_the_hash_that_is_written_down() -> None:
    found = {name: sha256((VENDOR / name).read_bytes()).hexdigest() for name in LIBRARIES}
    assert found == {name: facts["sha256"] for name, facts in LIBRARIES.items()}


def test_no_script_is_vendored_without_being_written_down() -> None:
    found = {path.relative_to(VENDOR).as_posix() for path in VENDOR.rglob("*.js")}
    assert found == set(LIBRARIES)


def test_every_library_carries_its_version_and_its_licence() -> None:
    for name, facts in LIBRARIES.items():
        assert facts["version"] in (VENDOR / name).read_text()[:500]
        assert (VENDOR / facts["licence_file"]).stat().st_size > 500


def test_no_library_names_a_source_map_that_is_not_there() -> None:
    for name in LIBRARIES:
        assert "sourceMappingURL" not in (VENDOR / name).read_text()
