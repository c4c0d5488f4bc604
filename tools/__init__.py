"""Programs beside the product: abuse, soak, and the makers of documentation."""
