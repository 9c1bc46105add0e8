"""The wire: the frames between clients and the server, as types and checks.

Pure: no Django, no sockets, no database. docs/protocol.md describes the contract.
"""
