"""Turns while they run: claimed, leased, streamed, ended; and a process's regular maintenance.

Knows no connections: what it produces is stored and published.
"""
