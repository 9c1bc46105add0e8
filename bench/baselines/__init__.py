"""Servers that do the least: what an answer costs when nothing is stored, ordered or resumed."""
