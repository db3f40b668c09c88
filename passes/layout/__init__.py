"""Layout: how every intermediate tensor is stored."""
