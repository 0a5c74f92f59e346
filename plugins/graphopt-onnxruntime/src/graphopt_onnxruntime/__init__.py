"""onnxruntime as a backend of graphopt."""
