"""Reproduce Srivastava et al. (2014), "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", on MNIST.

Networks are trained on all 60,000 training rows by fixed recipes and published. The service's engine gives the errors
on the 10,000 test rows, with weight scaling and with the mean of T samples, and, after Gal & Ghahramani (2016),
accuracy and entropies of rotated digits.
"""
