"""One run: refused or told from its spec to its findings."""
