"""Gal & Ghahramani (2016), "Dropout as a Bayesian Approximation", Table 1, run again.

splits and standardised rows → a grid of dropout networks, trained side by side → the best on validation rows →
trained on all training rows, published, and asked through the service's own engine on test rows.
"""
