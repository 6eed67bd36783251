"""Metrics of training and evaluation from scored groups: votes, baselines, curves, rows of metrics.jsonl."""
