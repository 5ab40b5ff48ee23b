"""Pure mathematics: intervals, tests, paired items."""
