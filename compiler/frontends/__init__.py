"""Frontends: a model file to an ImportedModel."""
