"""Where joules went, what they saved, and what was promised."""
