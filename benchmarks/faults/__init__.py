"""Faults on purpose: what is killed, torn, filled up and cut off, and whether every cell still ends as it should."""
