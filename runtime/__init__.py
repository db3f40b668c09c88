"""The runtime: a thin loader for compiled libraries; needs numpy only."""
