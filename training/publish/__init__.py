"""Write a trained model, its manifest and its card, all of it or nothing."""
