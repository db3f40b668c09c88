"""Templates for every target."""
