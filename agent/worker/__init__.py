"""Turns while they run: claimed, leased, streamed, ended; and a process's regular maintenance.

Knows no connections: it stores and publishes its results.
"""
