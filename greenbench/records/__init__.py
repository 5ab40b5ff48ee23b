"""The results directory: written, read, upgraded."""
