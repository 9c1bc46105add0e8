"""Rows: how sessions, messages and turns are read and written.

Synchronous, inside the caller's transaction. Publishes nothing: a transaction returns a `Change`.
"""
