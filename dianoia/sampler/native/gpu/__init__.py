"""Decoding on a CUDA device: continuous batching with few synchronisations; runs on a CPU in tests."""
