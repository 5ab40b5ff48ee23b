"""Base models: their files, their weights, and real text to read."""
