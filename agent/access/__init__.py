"""Who a caller is, what they are allowed to do, and how much of it.

Does not know what the callers then do.
"""
