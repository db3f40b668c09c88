"""Package: memory plan, generated C, weights, link, manifest."""
