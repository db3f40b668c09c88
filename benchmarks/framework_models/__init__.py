"""Programs that make a framework's models, their inputs and what the framework computes of them; each runs alone."""
