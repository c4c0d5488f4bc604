"""Rows that training did not learn from, and what they show of a model: calibration, figures, plots."""
