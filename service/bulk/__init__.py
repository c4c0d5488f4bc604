"""Scoring of files too large for a request: Parquet in, Parquet out, on one process or on many machines."""
