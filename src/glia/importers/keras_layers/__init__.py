"""The layers of Keras 1, 2 and 3 as ONNX: what its HDF5 files, `.keras` zips and TensorFlow.js share.

configs    the JSON of a model, in three dialects, as one kind of network
dialect    layers of Keras 1 and their settings in the words of Keras 2
stored     arrays of a file, dealt out to the layers
hdf5       a hostile HDF5 file as plain arrays
network    the walk: layer after layer through the rules into a graph
the rest   rules, by subject
"""
