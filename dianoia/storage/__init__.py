"""The files of a run: the run directory and its lock, journals, states, Parquet tables.

Atomic writes, checksums and format versions are in `base.files` and `base.run_files`.
"""
