"""The chaos run: people talk to server processes while everything around them fails.

`python -m tests.chaos --help`; what it shows is in docs/reliability.md.

    run      the order of things: storm, calm, the lost last message, audit, judgement
    world    what runs: server processes, Redis, PostgreSQL, provider, a proxy before each server
    faults   what happens to it, and when, from one seed
    people   who uses it: visitors with tabs, outboxes and bad connections
    judge    whether every promise was kept; pure
    proxy    TCP that is cut, slowed down and stalled
    launch   how a server process is started: manage.py, able to count its tasks, or sabotaged
"""
