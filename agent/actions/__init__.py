"""What callers can do with sessions: each action is one transaction, then a publication.

Does not know whether a WebSocket, the HTTP API, a command or a member of staff asked for it.
"""
