"""The servers of this layer: each starts once, with the first test that asks for it."""

from tests.support.servers import processes, provider, server, server_command, start_server

__all__ = ["processes", "provider", "server", "server_command", "start_server"]
