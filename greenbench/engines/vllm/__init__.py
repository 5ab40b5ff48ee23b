"""vLLM: its environment, and its server of a checkpoint."""
