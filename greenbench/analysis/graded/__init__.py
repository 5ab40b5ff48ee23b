"""Answers in words: their grades, lengths and joules."""
