"""onnxruntime; see __main__."""
