"""Numbers of trainings, from their windows and losses."""
