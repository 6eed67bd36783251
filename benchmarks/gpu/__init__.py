"""What one GPU makes of the same code: decoding, training and a step of GRPO, beside what it could."""
