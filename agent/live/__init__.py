"""The subscribers of a session, in this process and in others, and how changes reach them.

In memory and best effort: all durable frames are rows, which connections read again.
"""
