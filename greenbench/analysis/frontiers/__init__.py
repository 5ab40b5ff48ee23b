"""Which runs no other beats, by several costs, and how sure that is."""
