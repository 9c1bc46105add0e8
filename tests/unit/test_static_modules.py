"""The page's modules find each other under the hashed names that collectstatic gives them."""

import json
import re
from pathlib import Path
from typing import Any

from django.core.management import call_command

IMPORT = re.compile(r"""(?:from\s*|import\s*\(?\s*)["'](\.[^"']+)["']""")
HASHED = re.compile(r"\.[0-9a-f]{12}\.js$")


def test_every_import_names_a_hashed_module_that_exists(settings: Any, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "agentsite.storage.StaticStorage"},
    }
    call_command("collectstatic", interactive=False, verbosity=0)
    names = json.loads((tmp_path / "staticfiles.json").read_text())["paths"]
    modules = [
        tmp_path / hashed
        for name, hashed in names.items()
        if name.startswith("agent/") and name.endswith(".js")
    ]
    imports = [
        (module, target)
        for module in modules
        for target in IMPORT.findall(module.read_text())
        if "vendor" not in module.parts
    ]
    assert len(imports) > 20
    for module, target in imports:
        assert HASHED.search(target), f"{module.name} imports {target}"
        assert (module.parent / target).exists(), f"{module.name} imports {target}"
