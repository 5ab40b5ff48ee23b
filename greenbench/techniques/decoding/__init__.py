"""Techniques that decode otherwise than token by token."""
