"""Darknet's layers as ONNX: its files, and a rule for each kind of section."""
