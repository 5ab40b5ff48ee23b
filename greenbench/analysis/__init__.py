"""Numbers and reasons, made of records. No word of markdown, no picture."""
