"""What TensorFlow Lite calls its operators, and the fields of their options.

Source: schema.fbs of TensorFlow Lite, version 3c.
"""

from __future__ import annotations

_NAMES = (
    "ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP FLOOR "
    "FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC "
    "LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH "
    "SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER "
    "BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE "
    "BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM "
    "ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE "
    "TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK "
    "LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL "
    "FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL "
    "REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND "
    "HARD_SWISH IF WHILE NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM "
    "BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS "
    "HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE "
    "ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU "
    "DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2 "
    "UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT"
)
BUILTIN = tuple(_NAMES.split())
"""By the numbers that files hold; those after the last are StableHLO's and are not read."""

CUSTOM = BUILTIN.index("CUSTOM")

_ACTIVATION = "activation:b"
_WINDOW = "padding:b stride_w:i stride_h:i"
_RECURRENT = f"{_ACTIVATION} cell_clip:f projection_clip:f"

FIELDS = {
    "ADD": _ACTIVATION,
    "ARG_MAX": "output_type:b",
    "ARG_MIN": "output_type:b",
    "AVERAGE_POOL_2D": f"{_WINDOW} filter_w:i filter_h:i {_ACTIVATION}",
    "BATCH_MATMUL": "adjoint_x:? adjoint_y:?",
    "BIDIRECTIONAL_SEQUENCE_LSTM": f"{_RECURRENT} merge:? time_major:?=1",
    "BIDIRECTIONAL_SEQUENCE_RNN": f"time_major:? {_ACTIVATION} merge:?",
    "CAST": "from:b to:b",
    "CONCATENATION": f"axis:i {_ACTIVATION}",
    "CONV_2D": f"{_WINDOW} {_ACTIVATION} dilation_w:i=1 dilation_h:i=1",
    "CONV_3D": f"padding:b stride_d:i stride_w:i stride_h:i {_ACTIVATION} dilation_d:i=1 dilation_w:i=1 dilation_h:i=1",
    "CUMSUM": "exclusive:? reverse:?",
    "DEPTHWISE_CONV_2D": f"{_WINDOW} multiplier:i {_ACTIVATION} dilation_w:i=1 dilation_h:i=1",
    "DEPTH_TO_SPACE": "block:i",
    "DIV": _ACTIVATION,
    "FAKE_QUANT": "min:f max:f bits:i narrow:?",
    "FULLY_CONNECTED": f"{_ACTIVATION} format:b keep_rank:?",
    "GATHER": "axis:i batch_axes:i",
    "GELU": "approximate:?",
    "L2_POOL_2D": f"{_WINDOW} filter_w:i filter_h:i {_ACTIVATION}",
    "LEAKY_RELU": "alpha:f",
    "LOCAL_RESPONSE_NORMALIZATION": "radius:i bias:f alpha:f beta:f",
    "LSTM": f"{_RECURRENT} kernel:b",
    "MAX_POOL_2D": f"{_WINDOW} filter_w:i filter_h:i {_ACTIVATION}",
    "MEAN": "keep:?",
    "MIRROR_PAD": "mode:b",
    "MUL": _ACTIVATION,
    "ONE_HOT": "axis:i",
    "PACK": "count:i axis:i",
    "REDUCE_ALL": "keep:?",
    "REDUCE_ANY": "keep:?",
    "REDUCE_MAX": "keep:?",
    "REDUCE_MIN": "keep:?",
    "REDUCE_PROD": "keep:?",
    "RESHAPE": "shape:[i]",
    "RESIZE_BILINEAR": "new_height:i new_width:i align_corners:? half_pixel:?",
    "RESIZE_NEAREST_NEIGHBOR": "align_corners:? half_pixel:?",
    "REVERSE_SEQUENCE": "sequence_axis:i batch_axis:i",
    "RNN": _ACTIVATION,
    "SHAPE": "output_type:b",
    "SOFTMAX": "beta:f",
    "SPACE_TO_DEPTH": "block:i",
    "SPLIT": "count:i",
    "SPLIT_V": "count:i",
    "SQUEEZE": "axes:[i]",
    "STRIDED_SLICE": "begin_mask:i end_mask:i ellipsis_mask:i new_axis_mask:i shrink_axis_mask:i offset:?",
    "SUB": _ACTIVATION,
    "SUM": "keep:?",
    "SVDF": f"rank:i {_ACTIVATION}",
    "TRANSPOSE_CONV": f"{_WINDOW} {_ACTIVATION}",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": f"{_RECURRENT} time_major:?",
    "UNIDIRECTIONAL_SEQUENCE_RNN": f"time_major:? {_ACTIVATION}",
    "UNPACK": "count:i axis:i",
}
"""Operator to the fields of its options in their order: `name:type=default`; the type in the notation of `struct`,
or `[i]` for a vector of int32. Operators without options are absent."""
