"""Faster layers and output heads, on a CPU and a GPU, and the choice between them."""
