"""What GreenBench claims of a run or a sweep, held against what is true in the made-up lab."""
