"""Django's admin for staff: sessions with their transcripts, turns, accounts and API tokens.

Reads rows; what staff change goes through the same actions as everything else. Django imports this
package when it looks for admin classes, which is why it imports its modules.
"""

from . import accounts, sessions, turns

__all__ = ["accounts", "sessions", "turns"]
