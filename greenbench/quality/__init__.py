"""What a technique costs in quality: lm-eval's tasks, answered by baseline and candidate alike."""
