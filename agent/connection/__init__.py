"""The outgoing side of one WebSocket: which frames its client has, and which one is sent next.

Does not read the client's frames; `consumers` does.
"""
