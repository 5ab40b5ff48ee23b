"""The leaderboard, the comparison and the advice as markdown."""
