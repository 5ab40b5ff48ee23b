"""What other programs and pages read: long tables and model cards."""
