"""Django's development server on daphne, which answers WebSockets too.

`daphne` as an installed app would do the same, and load Twisted into every process.
"""

from daphne.management.commands.runserver import Command

__all__ = ["Command"]
