"""How many connections to the database each kind of work has. Pure: the settings read it too.

A lane is a kind of work with a bound of its own. PostgreSQL's pool is as large as all lanes
together, so no kind of work can take the connection of another, whatever strangers or staff do.
"""

from __future__ import annotations

#: Renewing leases and handing turns back: what a process loses its turns without.
KEEP = "keep"
#: What connections and turns do.
CHAT = "chat"
#: Searches through somebody's sessions.
SEARCH = "search"
#: Plain HTTP: pages, signing in, the API.
PAGES = "pages"
#: The admin, where one search may take as long as a statement may.
STAFF = "staff"
#: `/readyz` and `/metrics`.
HEALTH = "health"
#: Deleting what is large, in steps.
REMOVAL = "removal"

CONNECTIONS = {KEEP: 1, CHAT: 6, SEARCH: 2, PAGES: 3, STAFF: 2, HEALTH: 1, REMOVAL: 1}
POOL_SIZE = sum(CONNECTIONS.values())

#: Lanes in which a request waits for its turn no longer than this, and is then told to come back.
WAITING = (PAGES, STAFF)
WAIT_SECONDS = 5.0
