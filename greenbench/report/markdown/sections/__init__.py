"""The leaderboard's sections, one a file."""
