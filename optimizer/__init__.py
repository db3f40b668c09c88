"""Optimizer: models to smaller or faster models, before they are compiled."""
