"""What this machine can measure and run, and how finely."""
