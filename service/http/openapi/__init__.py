"""The OpenAPI description, with examples that the served models answer."""
