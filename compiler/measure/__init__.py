"""Measure: latency side by side with other runtimes, time per step, and the ceiling of this machine."""
