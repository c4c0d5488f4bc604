"""From somebody else's ONNX file with dropout in it to a published model."""

from training.importing.publishing import publish_onnx

__all__ = ["publish_onnx"]
