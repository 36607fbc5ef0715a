"""Foreign files to ONNX."""
