"""Many runs: from overrides to jobs, from jobs to records."""
