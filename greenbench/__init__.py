"""GreenBench: what efficiency techniques really save on real language models."""

__version__ = "0.1.0"
