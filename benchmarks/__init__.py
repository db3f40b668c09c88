"""Tilewright side by side with its peers; run from the repository's root with the package installed as ``.[bench]``."""
