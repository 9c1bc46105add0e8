"""Who listens to a session, in this process and in others, and how news reaches them.

In memory and best effort: what must not be lost is in the rows, which connections read again.
"""
