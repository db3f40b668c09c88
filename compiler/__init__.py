"""The compiler: from a model file to an artifact."""
