"""Networks with weights drawn at random, built node by node."""

import functools

import numpy as np
from onnx import TensorProto, helper, numpy_helper

NOISE = np.random.default_rng(11)


class Net:
    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weights(self, *shape):
        return self.constant((NOISE.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32))

    def __call__(self, op, *inputs, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def model(self, result, input_shape, output_shape):
        self.nodes.append(helper.make_node("Identity", [result], ["y"]))
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, input_shape)
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, output_shape)
        graph = helper.make_graph(self.nodes, "net", [x], [y], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@functools.cache
def mlp():
    net = Net()
    x = "x"
    for size, width in [(30, 64), (64, 32), (32, 4)]:
        x = net("Gemm", x, net.weights(width, size), net.weights(width), transB=1)
        if width > 4:
            x = net("Relu", x)
    return net.model(net("Softmax", x, axis=-1), ["n", 30], ["n", 4])


@functools.cache
def cnn():
    net = Net()
    x = net("Conv", "x", net.weights(8, 1, 3, 3), net.weights(8), pads=[1, 1, 1, 1], kernel_shape=[3, 3])
    x = net("Relu", x)
    x = net("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net("Conv", x, net.weights(16, 8, 3, 3), net.weights(16), pads=[1, 1, 1, 1], kernel_shape=[3, 3])
    x = net("BatchNormalization", x, net.weights(16), net.weights(16), net.weights(16), net.constant(np.abs(NOISE.normal(size=16)).astype(np.float32) + 0.5))
    x = net("Relu", x)
    x = net("GlobalAveragePool", x)
    x = net("Flatten", x)
    x = net("Gemm", x, net.weights(10, 16), net.weights(10), transB=1)
    return net.model(x, ["n", 1, 14, 14], ["n", 10])


@functools.cache
def transformer(length=12):
    """Over sequences of a length, or of any where it is none."""
    width, heads = 32, 4
    net = Net()

    def dense(x, size, to):
        return net("Add", net("MatMul", x, net.weights(size, to)), net.weights(to))

    def split(x):
        shape = net.constant(np.array([0, length or 0, heads, width // heads], dtype=np.int64))
        return net("Transpose", net("Reshape", x, shape), perm=[0, 2, 1, 3])

    def norm(x):
        return net("LayerNormalization", x, net.weights(width), net.weights(width), axis=-1)

    q, k, v = (split(dense("x", width, width)) for _ in range(3))
    scores = net("MatMul", q, net("Transpose", k, perm=[0, 1, 3, 2]))
    scores = net("Mul", scores, net.constant(np.float32((width // heads) ** -0.5)))
    mixed = net("MatMul", net("Softmax", scores, axis=-1), v)
    back = net.constant(np.array([0, length or 0, width], dtype=np.int64))
    mixed = net("Reshape", net("Transpose", mixed, perm=[0, 2, 1, 3]), back)
    x = norm(net("Add", "x", dense(mixed, width, width)))
    hidden = dense(x, width, 64)
    half = net("Mul", hidden, net.constant(np.float32(0.5)))
    erf = net("Erf", net("Mul", hidden, net.constant(np.float32(2**-0.5))))
    gelu = net("Mul", half, net("Add", erf, net.constant(np.float32(1.0))))
    x = norm(net("Add", x, dense(gelu, 64, width)))
    x = net("ReduceMean", x, axes=[1], keepdims=0)
    return net.model(dense(x, width, 5), ["n", length or "length", width], ["n", 5])


@functools.cache
def scaled_conv():
    """Of both kinds: a scaler of classical models before a convolution."""
    net = Net()
    net.nodes.append(helper.make_node("Scaler", ["x"], ["scaled"], domain="ai.onnx.ml", offset=[0.5], scale=[2.0]))
    x = net("Reshape", "scaled", net.constant(np.array([-1, 1, 6, 6], dtype=np.int64)))
    x = net("Conv", x, net.weights(2, 1, 3, 3), kernel_shape=[3, 3])
    x = net("Flatten", x)
    model = net.model(x, ["n", 36], ["n", 32])
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    return model


def cases():
    def batches(*shape):
        x = NOISE.normal(size=(16, *shape)).astype(np.float32)
        # More sizes than the runtime keeps plans for.
        return [{"x": x[:rows]} for rows in (16, 1, 7, 2, 3, 4, 5, 6, 8, 9, 11, 13)]

    def sequences():
        x = NOISE.normal(size=(4, 12, 32)).astype(np.float32)
        return [{"x": x[:rows, :length]} for length in (12, 5, 1, 8) for rows in (4, 1, 3)]

    yield "mlp", mlp, batches(30)
    yield "cnn", cnn, batches(1, 14, 14)
    yield "transformer", transformer, batches(12, 32)
    yield "transformer-any-length", functools.partial(transformer, None), sequences()
    yield "scaled-conv", scaled_conv, batches(36)
