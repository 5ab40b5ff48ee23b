"""Which runs compare with which, and which of them a report shows."""
