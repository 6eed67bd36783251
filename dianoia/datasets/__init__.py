"""Builds data sets from rollouts and files: supervised samples, judged pairs, labels. Columns on disk: `storage`."""
