"""Dropserve's service: deterministic inference and, on request, MC dropout uncertainty, from ONNX graphs."""

__version__ = "0.1.0"
