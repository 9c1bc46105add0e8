"""Measurements, as ratios within one run: machines differ, and so does what else they do."""
