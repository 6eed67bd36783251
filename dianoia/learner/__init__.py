"""The trainable model: loading, log-probabilities, optimizer, reference, one update at a time."""
