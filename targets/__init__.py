"""Targets: machines as rows of data, and the toolchains that link for them."""
