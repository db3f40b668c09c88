"""Templates for x86."""
