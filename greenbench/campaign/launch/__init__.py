"""Where a job runs: here, in a process of its own."""
