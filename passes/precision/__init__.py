"""Precision: which element type each operator computes in."""
