"""MXNet's operators as ONNX: its files, and a rule for each operator."""
