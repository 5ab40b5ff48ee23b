"""From what a user wants to what to run: limits, advice, comparison."""
