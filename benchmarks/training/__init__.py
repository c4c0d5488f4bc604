"""How fast networks are trained, beside those who do the same."""
