"""Techniques that set the device and leave the model as it is."""
