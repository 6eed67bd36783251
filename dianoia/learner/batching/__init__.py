"""From samples to micro-batches: minibatches, packing, padding, prompts that several responses share."""
