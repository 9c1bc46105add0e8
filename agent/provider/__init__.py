"""The model: requests to an OpenAI-compatible server, and the decoding of its answers.

Knows no sessions, turns or rows. Only `client` makes HTTP requests; everything else is pure.
"""
