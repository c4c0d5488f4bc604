"""Publish a model from an ONNX file with dropout that another program exported."""
