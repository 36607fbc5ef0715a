"""TensorFlow's operators, for every format that holds a GraphDef: frozen `.pb` files, TF.js, SavedModels, checkpoints.

nodes        what a GraphDef says, in plain values, from its bytes or from JSON
functions    the bodies of calls, branches and loops of TensorFlow 2
numbers      tensors in a GraphDef to arrays
network      what is wanted of a network, and the graph of that: `import_network`
entries      where it begins and ends: placeholders, decoders that are cut off, names that a user gives
dropout, dilation    what is made simpler before
walk         node by node into ONNX; loops of a known length unrolled, branches that are decided taken
loops        loops and arrays of tensors
call, rules  one function per operator, in modules by kind, and what it sees
labels       a list of labels that comes along
"""
