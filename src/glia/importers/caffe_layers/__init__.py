"""Caffe's layers as ONNX: the messages of its files, the network in them, and a rule for each kind of layer."""
