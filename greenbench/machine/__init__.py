"""This machine: its devices and their settings, its clock, and who else uses it."""
