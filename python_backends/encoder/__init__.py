"""Token ids to normalized vectors, on onnxruntime."""
