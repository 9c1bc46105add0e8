"""The browser and the servers of this layer: each starts once, with the first test to use it."""

from tests.support.browser import chromium, site, visitor
from tests.support.servers import provider, server_command, start_server

__all__ = ["chromium", "provider", "server_command", "site", "start_server", "visitor"]
