"""The OpenAPI document, with examples from a loaded model."""
