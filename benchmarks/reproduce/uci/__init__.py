"""Reproduce Gal & Ghahramani (2016), "Dropout as a Bayesian Approximation", Table 1.

For each split, a grid of dropout networks is trained side by side, and the best on validation rows is chosen; a network
is then trained on all training rows, published, and evaluated through the service's engine on test rows.
"""
