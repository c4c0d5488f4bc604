"""Measurements; their results hold for the machine that they ran on."""
