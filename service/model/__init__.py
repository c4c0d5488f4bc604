"""The contract of a published model, and the door to onnxruntime."""
