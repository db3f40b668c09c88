"""Templates for graphics processors."""
