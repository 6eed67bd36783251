"""Decoding on a CPU in PyTorch, where there is no C compiler."""
