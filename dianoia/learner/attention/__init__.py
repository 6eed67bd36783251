"""Attention in three layouts without padding: packed rows, responses behind a shared prompt, shared prefixes.

`exchange` puts a layout's attention function into a model for one pass and proves that the pass is exact.
"""
