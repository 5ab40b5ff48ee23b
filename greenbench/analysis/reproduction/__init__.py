"""Published tables, and whether runs of one's own bear them out."""
