"""Decoding on a CPU in C: all layers of a step in one call."""
