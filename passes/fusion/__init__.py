"""Fusion: groups of operators that become one kernel each."""
