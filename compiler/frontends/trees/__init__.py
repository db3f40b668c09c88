"""Tree libraries' own files: XGBoost's JSON and UBJSON, LightGBM's text."""

from __future__ import annotations

from .load import import_trees as import_trees
