"""The model: requests to an OpenAI-compatible server, and what its answers mean.

Knows no sessions, turns or rows. Only `client` makes HTTP requests; everything else is pure.
"""
