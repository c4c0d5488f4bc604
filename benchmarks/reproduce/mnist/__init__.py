"""Srivastava et al. (2014), "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", on MNIST, run again;
and how doubt rises as a digit is turned, after Gal & Ghahramani (2016).

all 60,000 training rows → a network by a fixed recipe → published → the service's engine on the 10,000 test rows:
errors with weight scaling and with the mean over T thinned networks, and accuracy and entropies at each angle.
"""
