"""Calibrate and evaluate a model on rows that training did not use."""
