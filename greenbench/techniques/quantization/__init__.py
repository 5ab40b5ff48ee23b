"""Techniques that hold numbers in fewer bits."""
