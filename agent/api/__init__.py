"""HTTP: the API's endpoints, their callers, bodies, errors and description.

Translates only; what is done is an action.
"""
