"""Decoding in PyTorch: continuous batching with few synchronisations, for CUDA and for CPUs without a C compiler."""
