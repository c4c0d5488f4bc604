"""A trained model, its manifest and its card, published whole or not at all."""
