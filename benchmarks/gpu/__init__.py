"""Decoding, training and GRPO steps on one GPU, compared with the limits of the hardware."""
