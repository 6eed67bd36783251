"""Build data sets from rollouts and files: supervised samples, judged pairs, safety labels. Columns on disk: `storage`."""
