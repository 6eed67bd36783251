"""What a run writes and reads: the run directory, whole files with checksums, journals, states, Parquet tables."""
