"""Techniques that train a smaller model on the larger one's predictions."""
