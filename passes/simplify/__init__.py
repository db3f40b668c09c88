"""Simplify: fewer and simpler operators, the same numbers."""
