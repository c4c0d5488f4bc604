"""The contract of a published model, and the only module that uses onnxruntime."""
