"""Kernels as text in languages like C."""
