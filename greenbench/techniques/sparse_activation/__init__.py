"""Techniques by which a token meets only a part of the weights: experts, and neurons left out."""
