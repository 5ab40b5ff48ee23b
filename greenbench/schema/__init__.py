"""The shapes of all that is written; types only."""
