"""The actions that callers can take on sessions: each is one transaction, then a publication.

Does not know whether a WebSocket, the HTTP API, a command or a member of staff asked for it.
"""
