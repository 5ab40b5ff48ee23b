"""Measurement: windows, blocks, workloads, and the numbers they give."""
