"""Layout: how every intermediate tensor is stored."""

from .assign import assign_layouts as assign_layouts
