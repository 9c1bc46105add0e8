"""Markdown that a model or a stranger wrote: as safe HTML, and as part of a document of ours."""
