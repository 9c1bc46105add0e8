"""One WebSocket, outgoing: what its client has, what it lacks, and in which order that is sent.

Does not read what the client sends; that is the work of `consumers`.
"""
