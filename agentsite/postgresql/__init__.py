"""Django's PostgreSQL backend, with timeouts by purpose and with poolers in between."""
