"""Write fixtures/mxnet.npz: small networks as MXNet saves them, each with an input and what MXNet gives for it.

Run with MXNet 1.9.1 (and numpy below 1.24), which nothing else here needs: python make_mxnet_fixtures.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import mxnet as mx
import numpy as np

s = mx.sym
X, Y = s.Variable("data"), s.Variable("other")
IMAGE = (2, 4, 6, 7)


def conv(x, name: str, **more):
    return s.Convolution(x, kernel=(3, 3), num_filter=6, name=name, **more)


NETWORKS = {
    "convolutions": s.Convolution(conv(X, "a", stride=(2, 1), pad=(1, 0)), kernel=(1, 1), num_filter=4, no_bias=True),
    "groups and dilation": conv(X, "a", num_group=2, dilate=(2, 2), pad=(2, 2)),
    "deconvolution": s.Deconvolution(
        X, kernel=(4, 3), stride=(2, 2), pad=(1, 1), num_filter=6, num_group=2, adj=(1, 0)
    ),
    "deconvolution with bias": s.Deconvolution(X, kernel=(2, 2), stride=(2, 2), num_filter=3, no_bias=False),
    "batch norm, fixed": s.BatchNorm(conv(X, "a"), name="bn"),
    "batch norm, learned": s.BatchNorm(conv(X, "a"), fix_gamma=False, eps=1e-5, name="bn"),
    "batch norm, last axis": s.BatchNorm(X, fix_gamma=False, axis=3, name="bn"),
    "activations": s.Concat(
        *[s.Activation(X, act_type=k) for k in ("relu", "sigmoid", "tanh", "softrelu", "softsign")]
    ),
    "leaky": s.Concat(
        *[s.LeakyReLU(X, act_type=k, slope=0.1) for k in ("leaky", "elu", "selu", "gelu")],
        s.LeakyReLU(X, act_type="rrelu")[0],
        s.LeakyReLU(X, act_type="prelu", name="p"),
    ),
    "pool, down": s.Pooling(X, kernel=(3, 2), stride=(2, 2), pad=(1, 0), pool_type="max"),
    "pool, up": s.Pooling(X, kernel=(3, 3), stride=(2, 2), pool_type="max", pooling_convention="full"),
    "pool, up and padded": s.Pooling(
        X, kernel=(2, 2), stride=(2, 2), pad=(1, 1), pool_type="max", pooling_convention="full"
    ),
    "mean": s.Pooling(X, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="avg"),
    "mean without padding": s.Pooling(
        X, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="avg", count_include_pad=False
    ),
    "mean, up": s.Pooling(X, kernel=(3, 3), stride=(3, 3), pad=(1, 1), pool_type="avg", pooling_convention="full"),
    "sum": s.Pooling(X, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="sum"),
    "global": s.Concat(*[s.Pooling(X, global_pool=True, kernel=(1, 1), pool_type=k) for k in ("avg", "max", "sum")]),
    "classifier": s.SoftmaxOutput(
        s.FullyConnected(s.Flatten(s.Pooling(conv(X, "a"), kernel=(2, 2), stride=(2, 2))), num_hidden=5, name="fc"),
        name="softmax",
    ),
    "fully connected, last axis": s.FullyConnected(X, num_hidden=5, flatten=False, no_bias=True, name="fc"),
    "lrn": s.LRN(X, nsize=3, alpha=0.1, beta=0.6, knorm=1.5),
    "lengths": s.Concat(*[s.L2Normalization(X, mode=k) for k in ("instance", "channel", "spatial")]),
    "instance norm": s.InstanceNorm(X, name="in"),
    "layer norm": s.LayerNorm(X, name="ln"),
    "softmax, channels": s.SoftmaxActivation(X, mode="channel"),
    "softmaxes": s.Concat(s.softmax(X), s.log_softmax(X, axis=1), s.softmax(X, axis=2, temperature=2.0)),
    "scalars": ((3 - X * 2) / (X * X + 1.5) + 2**X - s.maximum(X, 0.1) + s.minimum(X, 0.2) - 1 / (X + 9.0)) ** 2,
    "unary": s.Concat(
        s.exp(X),
        s.sqrt(s.abs(X)),
        s.square(X),
        s.clip(X, -0.5, 0.5),
        s.relu(X),
        s.negative(X),
        s.rsqrt(s.abs(X) + 1),
        s.hard_sigmoid(X),
        s.erf(X),
        s.floor(X),
        s.log(s.abs(X) + 1),
    ),
    "broadcast": s.broadcast_mul(
        s.broadcast_add(X, s.mean(X, axis=1, keepdims=True)), s.mean(X, axis=(2, 3), keepdims=True)
    ),
    "sums": s.add_n(X, X * 2, X * 3) + s.elemwise_sub(X, X * X),
    "reductions": s.Concat(s.mean(X, axis=1), s.sum(X, axis=1), s.max(X, axis=1), s.min(X, axis=1), dim=1),
    "reduction, excluded": s.sum(X, axis=(0, 1), exclude=True),
    "reshape": s.Reshape(X, shape=(0, -1, 0)),
    "reshape, codes": s.Reshape(s.Reshape(X, shape=(0, -3, -2)), shape=(0, -4, 4, -1, -2)),
    "transposes": s.SwapAxis(s.transpose(X, axes=(0, 2, 3, 1)), dim1=1, dim2=3),
    "axes of one": s.squeeze(s.expand_dims(s.expand_dims(X, axis=1), axis=-1), axis=1),
    "slices": s.slice(s.slice_axis(X, axis=2, begin=1, end=-1), begin=(None, 1, 0), end=(None, 3, None)),
    "parts": s.Concat(*list(s.SliceChannel(X, num_outputs=2, axis=1))[::-1], dim=1),
    "parts, squeezed": s.stack(*list(s.split(X, num_outputs=4, axis=1, squeeze_axis=True)), axis=1),
    "pad": s.Pad(
        s.Pad(X, mode="edge", pad_width=(0, 0, 0, 0, 1, 2, 3, 4)),
        mode="constant",
        constant_value=0.5,
        pad_width=(0, 0, 0, 0, 1, 0, 0, 1),
    ),
    "reflect": s.Pad(X, mode="reflect", pad_width=(0, 0, 0, 0, 1, 2, 3, 4)),
    "upsampling": s.UpSampling(X, scale=2, sample_type="nearest"),
    "upsampling, learned": s.UpSampling(X, scale=3, sample_type="bilinear", num_filter=4, num_args=2),
    "regions": s.ROIPooling(
        X, s.concat(s.zeros((1, 1)), s.zeros((1, 2)), s.ones((1, 2)) * 5, dim=1), pooled_size=(2, 3), spatial_scale=0.9
    ),
    "slice like": s.slice_like(X, s.slice(X, begin=(0, 0, 0, 0), end=(2, 3, 4, 5)), axes=(1, -1)),
    "take": s.take(X, s.ones((2,)) * 2, axis=1),
    "bilinear": s.contrib.BilinearResize2D(X, height=9, width=10),
    "bilinear, half pixels": s.contrib.BilinearResize2D(X, height=12, width=14, align_corners=False),
    "adaptive": s.contrib.AdaptiveAvgPooling2D(X, output_size=(3, 1)),
    "crop": s.Crop(X, offset=(1, 2), h_w=(3, 4)),
    "crop to another": s.Crop(X, s.Pooling(X, kernel=(3, 3), pool_type="max"), num_args=2, center_crop=True),
    "products": s.batch_dot(s.Reshape(X, shape=(0, 0, -1)), s.Reshape(X, shape=(0, 0, -1)), transpose_b=True),
    "tiles": s.tile(X, reps=(1, 2, 1, 2)),
    "prior boxes": s.contrib.MultiBoxPrior(X, sizes=(0.3, 0.5), ratios=(1, 2, 0.5)),
    "places": s.argmax(X, axis=1),
    "dropout": s.Dropout(X, p=0.5) + s.BlockGrad(X),
    "logistic": s.LogisticRegressionOutput(X, name="out"),
    "several": s.Group([s.relu(X, name="first"), s.tanh(X, name="second")]),
}


def main() -> None:
    """Write the file."""
    found: dict[str, np.ndarray] = {}
    draw = np.random.default_rng(7)
    for name, symbol in NETWORKS.items():
        shapes, _, states = symbol.infer_shape(data=IMAGE)
        data = draw.normal(size=IMAGE).astype(np.float32)
        held = dict(zip(symbol.list_arguments(), shapes, strict=True))
        arrays = {k: mx.nd.array(draw.normal(size=shape) * 0.4) for k, shape in held.items() if k != "data"}
        states = {
            k: mx.nd.array(draw.uniform(0.5, 1.5, shape))
            for k, shape in zip(symbol.list_auxiliary_states(), states, strict=True)
        }
        run = symbol.bind(mx.cpu(), {**arrays, "data": mx.nd.array(data)}, aux_states=states)
        outputs = run.forward(is_train=False)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.params"
            saved = {f"arg:{k}": v for k, v in arrays.items() if not k.endswith("label")}
            mx.nd.save(str(path), saved | {f"aux:{k}": v for k, v in states.items()})
            found[f"{name}/params"] = np.frombuffer(path.read_bytes(), np.uint8)
        found[f"{name}/symbol"] = np.frombuffer(symbol.tojson().encode(), np.uint8)
        found[f"{name}/input"] = data
        for number, output in enumerate(outputs):
            found[f"{name}/output{number}"] = output.asnumpy()
    np.savez_compressed(Path(__file__).parent / "fixtures" / "mxnet.npz", **found)


if __name__ == "__main__":
    main()
