"""Attention in three layouts without padding: packed rows, responses behind a shared prompt, shared prefixes."""
