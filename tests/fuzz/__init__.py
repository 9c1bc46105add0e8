"""Mutated input against live servers: `make fuzz`, and a short run in the tests."""
