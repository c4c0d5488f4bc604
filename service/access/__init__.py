"""Who may call and how much: keys, limits, refusals, and what every way in has in common."""
