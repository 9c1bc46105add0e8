"""Collected static files: hashed names, compressed, imports between modules rewritten."""

from servestatic.storage import CompressedManifestStaticFilesStorage


class StaticStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    support_js_module_import_aggregation = True
    max_post_process_passes = 20  # one for each step of the longest chain of imports
