"""TensorFlow's operators, for every format that holds a GraphDef: frozen `.pb` files, TF.js, SavedModels, checkpoints.

nodes        what a GraphDef says, in plain values, from its bytes or from JSON
numbers      tensors in a GraphDef to arrays
network      which part is wanted, in which order; inputs and outputs; the walk that writes ONNX
loops        loops of a known length, unrolled; branches that are decided
rules        one function per operator, in modules by kind
"""
