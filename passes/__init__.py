"""Passes: rewrites of Relax modules, one rewrite a file."""
