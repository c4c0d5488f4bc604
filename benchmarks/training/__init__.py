"""The speed of training, beside peers."""
