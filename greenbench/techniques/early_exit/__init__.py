"""Techniques that let a token leave the model's blocks early."""
