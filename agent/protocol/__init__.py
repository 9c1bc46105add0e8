"""The wire: what clients and the server say to each other, as types and checks.

Pure: no Django, no sockets, no database. The contract in words is docs/protocol.md.
"""
