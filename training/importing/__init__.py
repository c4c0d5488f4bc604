"""From somebody else's ONNX file with dropout in it to a published model."""
