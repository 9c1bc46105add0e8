"""Authentication of callers, their permissions, and limits on what they do.

Does not know the actions of the callers.
"""
