"""The makers of the documentation: `python -m tools.docs.make_settings` and others."""
