"""Techniques that compute the same otherwise."""
