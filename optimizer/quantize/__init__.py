"""Quantize: calibrate a float model and write one that computes in eight bits, or keeps its weights in few."""
