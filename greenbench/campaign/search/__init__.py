"""Runs that are asked for one after another, each by what those before it have shown."""
