"""Base models, each with its own way into the graph."""
