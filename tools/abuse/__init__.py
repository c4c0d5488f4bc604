"""Damaged and hostile inputs: `python -m tools.abuse`."""
