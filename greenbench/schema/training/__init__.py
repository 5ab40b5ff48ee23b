"""How models are trained, and what a record keeps of it; types only."""
