"""Reads and writes the rows of sessions, messages and turns.

Synchronous, inside the caller's transaction. Publishes nothing: a transaction returns a `Change`.
"""
