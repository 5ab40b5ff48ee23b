"""Recipes: how a model is trained."""
