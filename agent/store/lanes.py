"""The number of database connections for each kind of work. Pure: the settings read it too.

A lane is a kind of work with a bound of its own. PostgreSQL's pool is as large as all lanes
together, so no kind of work can take the connection of another, whatever clients or staff do.
"""

from __future__ import annotations

#: Renewing leases and handing turns back; without it a process would lose its turns.
KEEP = "keep"
#: The work of connections and turns.
CHAT = "chat"
#: Searches through a caller's sessions.
SEARCH = "search"
#: Plain HTTP: pages, signing in, the API.
PAGES = "pages"
#: The admin, where one search may take as long as a statement may.
STAFF = "staff"
#: `/readyz` and `/metrics`.
HEALTH = "health"
#: Removing the rows of deleted sessions, in steps.
REMOVAL = "removal"

CONNECTIONS = {KEEP: 1, CHAT: 6, SEARCH: 2, PAGES: 3, STAFF: 2, HEALTH: 1, REMOVAL: 1}
POOL_SIZE = sum(CONNECTIONS.values())

#: Lanes in which a request waits for a connection at most this long, and is then refused.
WAITING = (PAGES, STAFF)
WAIT_SECONDS = 5.0
