"""Techniques that leave weights, heads or blocks away."""
