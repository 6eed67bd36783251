"""Decoding on a CPU in C: one call runs all layers of a decoding step."""
