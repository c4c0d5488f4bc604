"""Measurements. What they say holds for the machine they ran on."""
