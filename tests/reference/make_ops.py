"""Writes tests/golden/ops/OP.txt: cases of every op with what ONNX's reference evaluator makes of them.

    python tests/reference/make_ops.py          needs onnx and numpy

Floats are evaluated in float64 where the evaluator can, and rounded to float32 for the file. The format, a word at a time:

    case NAME OP BATCH
    int|float|string NAME VALUE       ints|floats NAME COUNT VALUES...          attributes
    input|constant|output NAME DTYPE BATCHED RANK DIMS... ELEMENTS...           shapes of one image, elements of the whole batch
    omitted                                                                     an input or output that is left out
    end

Elements of float16 and bfloat16 are their bits."""

import pathlib
import zlib

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden" / "ops"
OPSET = 23
TYPES = {
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
    "uint8": TensorProto.UINT8,
    "int8": TensorProto.INT8,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
}
files = {}


class Tensor:
    """An operand: `array` is that of the whole batch; `graph_array` what the graph holds, where it differs from what ONNX is given."""

    def __init__(self, array, batched=False, constant=False, graph_array=None):
        self.array, self.batched, self.constant = array, batched, constant
        self.graph_array = array if graph_array is None else graph_array


class Random:
    def __init__(self, name):
        self.generator = np.random.default_rng(zlib.crc32(name.encode()))

    def __call__(self, *shape, low=None, high=None):
        if low is not None:
            return self.generator.uniform(low, high, shape).astype(np.float32)
        return self.generator.standard_normal(shape).astype(np.float32)


def x(array):
    return Tensor(np.asarray(array))


def images(array):
    return Tensor(array, batched=True)


def const(array):
    return Tensor(np.asarray(array), constant=True)


def ints(*values):
    return const(np.array(values, np.int64))


def target(values, graph_values):
    """A shape whose element 0 is N: ONNX gets the batch, the graph 1."""
    return Tensor(np.array(values, np.int64), True, True, np.array(graph_values, np.int64))


def evaluate(op, tensors, attrs, output_count, opset):
    names = [f"i{i}" if t is not None else "" for i, t in enumerate(tensors)]
    outputs = [f"o{i}" for i in range(output_count)]
    present = [(n, t.array) for n, t in zip(names, tensors) if t is not None]

    def run(widen):
        feeds = {n: a.astype(np.float64) if widen and a.dtype == np.float32 else a for n, a in present}
        infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in feeds.items()]
        infos_out = [helper.make_tensor_value_info(n, TensorProto.UNDEFINED, None) for n in outputs]
        node = helper.make_node(op, names, outputs, **attrs)
        graph = helper.make_graph([node], "g", infos, infos_out)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        return ReferenceEvaluator(model).run(None, feeds)

    wide = any(a.dtype == np.float32 for _, a in present) and op != "Cast"
    results = run(wide)
    return [r.astype(np.float32) if wide and r.dtype == np.float64 else np.asarray(r) for r in results]


def elements(array):
    name = str(array.dtype)
    if name in ("float16", "bfloat16"):
        return " ".join(str(v) for v in array.view(np.uint16).ravel())
    if name in ("float32", "float64"):
        digits = 9 if name == "float32" else 17
        return " ".join(f"{v:.{digits}g}" for v in array.ravel().astype(np.float64))
    return " ".join(str(int(v)) for v in array.ravel())


def tensor_line(kind, name, array, batched, batch):
    shape = list(array.shape)
    if batched and kind != "constant":
        assert shape[0] % batch == 0, (name, shape)
        shape[0] //= batch
    words = [kind, name, array.dtype, int(batched), len(shape), *shape]
    return " ".join(map(str, words)) + "\n" + elements(array)


def attr_line(name, value):
    if isinstance(value, str):
        return f"string {name} {value}"
    if isinstance(value, float):
        return f"float {name} {value!r}"
    if isinstance(value, int):
        return f"int {name} {value}"
    kind = "floats" if isinstance(value[0], float) else "ints"
    return f"{kind} {name} {len(value)} " + " ".join(map(repr, value))


def case(name, op, tensors, attrs=None, outputs=1, omit=(), batch=1, graph_attrs=None, opset=OPSET, out_batched=None):
    """graph_attrs: where the graph's attributes are written in another way than ONNX's (Cast's `to`)."""
    attrs = attrs or {}
    results = evaluate(op, tensors, attrs, outputs, opset)
    batched = out_batched if out_batched is not None else any(t is not None and t.batched for t in tensors)
    lines = [f"case {name} {op} {batch}"]
    lines += [attr_line(k, v) for k, v in (attrs if graph_attrs is None else graph_attrs).items()]
    for i, t in enumerate(tensors):
        if t is None:
            lines.append("omitted")
        else:
            lines.append(tensor_line("constant" if t.constant else "input", f"i{i}", t.graph_array, t.batched, batch))
    for i, result in enumerate(results):
        lines.append("omitted" if i in omit else tensor_line("output", f"o{i}", result, batched, batch))
    files.setdefault(op, []).append("\n".join(lines + ["end", ""]))


def elementwise():
    for op in ("Add", "Sub", "Mul", "Div"):
        r = Random(op)
        case("same", op, [x(r(2, 5)), x(r(2, 5))])
        case("right_vector", op, [x(r(2, 3, 4)), x(r(4))])
        case("left_vector", op, [x(r(4)), x(r(2, 3, 4))])
        case("both_ways", op, [x(r(3, 1, 4)), x(r(1, 2, 1))])
        case("scalar", op, [x(r(2, 3)), x(r())])
        case("scalars", op, [x(r()), x(r())])
        case("images", op, [images(r(2, 3, 4)), const(r(1, 3, 1))], batch=2)
        case("images_both", op, [images(r(6, 4)), images(r(6, 1))], batch=2)
        case("float64", op, [x(r(3).astype(np.float64)), x(r(3).astype(np.float64))])
        left, right = np.array([7, -7, 9, 100], np.int64), np.array([2, 2, -3, 7], np.int64)
        if op != "Div":
            case("int64", op, [x(left), x(right)])
            case("int32", op, [x(left.astype(np.int32)), x(right.astype(np.int32))])
    case("int64", "Div", [x(np.array([7, 196, 9, 100], np.int64)), x(np.array([2, 14, 3, 7], np.int64))])
    for op in ("Max", "Min"):
        r = Random(op)
        case("same", op, [x(r(2, 5)), x(r(2, 5))])
        case("right_vector", op, [x(r(2, 3, 4)), x(r(4))])
        case("scalar", op, [images(r(2, 3)), const(np.array(0.25, np.float32))], batch=2)
        case("images", op, [images(r(2, 3, 4)), const(r(1, 3, 1))], batch=2)
        case("int64", op, [x(np.array([7, -7, 9], np.int64)), x(np.array([2, 2, 2**62], np.int64))])
    r = Random("Swish")
    case("default", "Swish", [x(r(3, 7, low=-30, high=30))], opset=24)
    case("quick_gelu", "Swish", [x(r(3, 7, low=-6, high=6))], {"alpha": 1.702}, opset=24)
    case("images", "Swish", [images(r(2, 3))], {"alpha": -0.5}, batch=2, opset=24)
    r = Random("Pow")
    case("square", "Pow", [x(r(2, 3)), const(np.array(2, np.float32))])
    case("fraction", "Pow", [x(r(5, low=0.1, high=4)), x(r(5))])
    case("integer_exponent", "Pow", [x(r(4)), const(np.array([3], np.int64))])
    for op, low, high in (("Neg", -3, 3), ("Sqrt", 0, 9), ("Reciprocal", 0.1, 4), ("Exp", -20, 5), ("Erf", -4, 4),
                          ("Tanh", -6, 6), ("Sigmoid", -30, 30), ("Relu", -2, 2)):
        r = Random(op)
        case("values", op, [x(r(3, 7, low=low, high=high))])
        case("images", op, [images(r(2, 3, low=low, high=high))], batch=2)
    case("int64", "Neg", [x(np.array([3, -4, 0], np.int64))])
    case("float16", "Exp", [x(np.array([-1, 0, 0.5, 3], np.float16))])
    r = Random("Gelu")
    case("exact", "Gelu", [x(r(4, 8, low=-6, high=6))])
    case("none", "Gelu", [x(r(5))], {"approximate": "none"})
    case("tanh", "Gelu", [x(r(4, 8, low=-6, high=6))], {"approximate": "tanh"})


def cast():
    r = Random("Cast")
    values = {
        "float32": np.array([-2.75, -0.5, 0, 1, 1e-9, 100.5, 3.14159265], np.float32),
        "float64": np.array([-2.75, 0.1, 1e-30, 65504, 1 + 2**-30], np.float64),
        "float16": np.array([-2.75, 0.1, 6e-8, 65504, 3e-5], np.float16),
        "uint8": np.array([0, 1, 127, 255], np.uint8),
        "int8": np.array([-128, -1, 0, 127], np.int8),
        "int32": np.array([-(2**31), -5, 0, 2**31 - 1], np.int32),
        "int64": np.array([-5, 0, 2**40, 2**62 + 1], np.int64),
        "bool": np.array([True, False]),
    }
    wanted = {
        "float32": ["float64", "float16", "bfloat16", "int32", "int64", "bool"],
        "float64": ["float32", "float16", "int64"],
        "float16": ["float32", "float64"],
        "uint8": ["float32", "int64", "bool"],
        "int8": ["float32", "int32"],
        "int32": ["int64", "float64"],
        "int64": ["float64", "bool"],
        "bool": ["float32", "int64"],
    }
    for source, targets in wanted.items():
        for to in targets:
            case(f"{source}_{to}", "Cast", [x(values[source])], {"to": TYPES[to]}, graph_attrs={"to": to})
    halves = np.concatenate([r(20, low=-70000, high=70000), r(20, low=-1e-4, high=1e-4), r(10, low=-1e-7, high=1e-7)])
    case("halves", "Cast", [x(halves)], {"to": TYPES["float16"]}, graph_attrs={"to": "float16"})
    case("brains", "Cast", [x(r(20))], {"to": TYPES["bfloat16"]}, graph_attrs={"to": "bfloat16"})


def reductions():
    r = Random("Softmax")
    case("last", "Softmax", [x(r(2, 3, 5))])
    case("middle", "Softmax", [x(r(2, 3, 5))], {"axis": 1})
    case("first", "Softmax", [x(r(4, 3))], {"axis": 0})
    case("large", "Softmax", [x(r(2, 4, low=-1e4, high=1e4))], {"axis": -1})
    case("images", "Softmax", [images(r(3, 2, 4))], {"axis": -2}, batch=3)
    case("infinite", "Softmax", [x(np.array([[1, -np.inf, 2], [0, 3, -np.inf]], np.float32))])
    r = Random("LayerNormalization")
    case("last", "LayerNormalization", [x(r(2, 3, 8)), const(r(8)), const(r(8))])
    case("epsilon", "LayerNormalization", [x(r(3, 8) * 1e-3), const(r(8)), const(r(8))], {"epsilon": 1e-6})
    case("no_bias", "LayerNormalization", [x(r(3, 8)), const(r(8))], {"epsilon": 1e-12})
    case("axes", "LayerNormalization", [x(r(2, 3, 4)), const(r(3, 4)), const(r(3, 4))], {"axis": 1})
    case("all_axes", "LayerNormalization", [x(r(3, 4)), const(r(3, 4)), const(r(3, 4))], {"axis": -2})
    case("images", "LayerNormalization", [images(r(2, 3, 4)), const(r(4)), const(r(4))], {"axis": -1}, batch=2)
    case("merged", "LayerNormalization", [images(r(6, 4)), const(r(4)), const(r(4))], batch=2)
    case("offset", "LayerNormalization", [x(r(2, 16) + 100), const(r(16)), const(r(16))])
    r = Random("ReduceMean")
    case("axes_input", "ReduceMean", [x(r(2, 3, 4)), ints(1)])
    case("axes_attribute", "ReduceMean", [x(r(2, 3, 4))], {"axes": [-1], "keepdims": 0}, opset=13)
    case("two_axes", "ReduceMean", [x(r(2, 3, 4)), ints(-1, 0)], {"keepdims": 0})
    case("all", "ReduceMean", [x(r(2, 3))])
    case("all_dropped", "ReduceMean", [x(r(2, 3))], {"keepdims": 0})
    case("noop", "ReduceMean", [x(r(2, 3)), const(np.zeros(0, np.int64))], {"noop_with_empty_axes": 1})
    case("images", "ReduceMean", [images(r(2, 5, 4)), ints(1)], {"keepdims": 0}, batch=2)


def products():
    r = Random("MatMul")
    case("plain", "MatMul", [x(r(3, 5)), x(r(5, 4))])
    case("stack_by_one", "MatMul", [x(r(2, 3, 5)), const(r(5, 4))])
    case("one_by_stack", "MatMul", [x(r(3, 5)), x(r(2, 5, 4))])
    case("stacks", "MatMul", [x(r(2, 2, 3, 5)), x(r(2, 2, 5, 4))])
    case("broadcast", "MatMul", [x(r(2, 1, 3, 5)), x(r(3, 5, 2))])
    case("left_vector", "MatMul", [x(r(5)), x(r(5, 4))])
    case("right_vector", "MatMul", [x(r(3, 5)), x(r(5))])
    case("stack_by_vector", "MatMul", [x(r(2, 3, 5)), x(r(5))])
    case("vector_by_stack", "MatMul", [x(r(5)), x(r(2, 5, 3))])
    case("vectors", "MatMul", [x(r(5)), x(r(5))])
    case("images", "MatMul", [images(r(2, 3, 5)), const(r(5, 4))], batch=2)
    case("images_both", "MatMul", [images(r(2, 2, 3, 4)), images(r(2, 2, 4, 3))], batch=2)
    case("merged", "MatMul", [images(r(6, 5)), const(r(5, 4))], batch=2)
    case("long_inner", "MatMul", [x(r(2, 300)), x(r(300, 3))])
    case("many_rows", "MatMul", [x(r(209, 2)), x(r(2, 1))])
    case("many_columns", "MatMul", [x(r(1, 2)), x(r(2, 519))])
    r = Random("Gemm")
    case("plain", "Gemm", [x(r(3, 5)), const(r(5, 4))])
    case("bias", "Gemm", [x(r(3, 5)), const(r(5, 4)), const(r(4))])
    case("flags", "Gemm", [x(r(5, 3)), const(r(4, 5)), const(r(3, 4))], {"alpha": 0.5, "beta": -2.0, "transA": 1, "transB": 1})
    case("column", "Gemm", [x(r(3, 5)), const(r(4, 5)), const(r(3, 1))], {"transB": 1})
    case("scalar", "Gemm", [x(r(3, 5)), const(r(5, 4)), const(r())])
    case("trans_a", "Gemm", [x(r(5, 3)), const(r(5, 4)), const(r(1, 4))], {"transA": 1})
    case("images", "Gemm", [images(r(2, 5)), const(r(4, 5)), const(r(4))], {"transB": 1}, batch=2)
    case("images_addend", "Gemm", [images(r(6, 5)), const(r(5, 4)), images(r(6, 1))], batch=3)


def convolution():
    r = Random("Conv")
    case("patches", "Conv", [images(r(2, 3, 8, 8)), const(r(4, 3, 4, 4)), const(r(4))],
         {"kernel_shape": [4, 4], "strides": [4, 4]}, batch=2)
    case("no_bias", "Conv", [x(r(1, 2, 6, 5)), const(r(3, 2, 2, 2))])
    case("padded", "Conv", [x(r(1, 2, 5, 5)), const(r(3, 2, 3, 3)), const(r(3))], {"pads": [1, 2, 0, 1]})
    case("strided", "Conv", [x(r(1, 2, 7, 9)), const(r(2, 2, 3, 2))], {"strides": [2, 3], "pads": [1, 0, 1, 0]})
    case("dilated", "Conv", [x(r(1, 1, 7, 7)), const(r(2, 1, 3, 3))], {"dilations": [2, 3]})
    case("grouped", "Conv", [x(r(1, 4, 4, 4)), const(r(6, 2, 3, 3)), const(r(6))], {"group": 2})
    case("depthwise", "Conv", [x(r(1, 3, 5, 5)), const(r(3, 1, 3, 3))], {"group": 3, "pads": [1, 1, 1, 1]})
    case("same_upper", "Conv", [x(r(1, 1, 5, 6)), const(r(1, 1, 2, 3))], {"auto_pad": "SAME_UPPER", "strides": [2, 2]})
    case("same_lower", "Conv", [x(r(1, 1, 5, 6)), const(r(1, 1, 2, 3))], {"auto_pad": "SAME_LOWER"})
    case("valid", "Conv", [x(r(1, 1, 5, 6)), const(r(1, 1, 2, 3))], {"auto_pad": "VALID"})
    case("rest", "Conv", [x(r(1, 1, 10, 7)), const(r(2, 1, 4, 4))], {"strides": [4, 4]})
    case("many_positions", "Conv", [x(r(1, 1, 15, 15)), const(r(1, 1, 1, 1)), const(r(1))])


def attention():
    r = Random("Attention")
    heads = {"q_num_heads": 3, "kv_num_heads": 3}
    case("rank3", "Attention", [x(r(1, 4, 6)), x(r(1, 4, 6)), x(r(1, 4, 6))], heads)
    case("rank3_images", "Attention", [images(r(2, 4, 6)), images(r(2, 5, 6)), images(r(2, 5, 9))], heads, batch=2)
    case("rank4", "Attention", [x(r(1, 2, 4, 3)), x(r(1, 2, 5, 3)), x(r(1, 2, 5, 4))])
    case("rank4_images", "Attention", [images(r(2, 2, 3, 4)), images(r(2, 2, 3, 4)), images(r(2, 2, 3, 4))], {"scale": 0.25}, batch=2)
    case("batch", "Attention", [x(r(2, 3, 6)), x(r(2, 3, 6)), x(r(2, 3, 6))], heads)
    case("causal", "Attention", [x(r(1, 4, 6)), x(r(1, 4, 6)), x(r(1, 4, 6))], heads | {"is_causal": 1})
    case("causal_uneven", "Attention", [x(r(1, 2, 3, 4)), x(r(1, 2, 5, 4)), x(r(1, 2, 5, 4))], {"is_causal": 1})
    case("softcap", "Attention", [x(3 * r(1, 1, 4, 4)), x(3 * r(1, 1, 4, 4)), x(r(1, 1, 4, 4))], {"softcap": 2.0})
    case("grouped3", "Attention", [x(r(1, 3, 8)), x(r(1, 4, 4)), x(r(1, 4, 4))], {"q_num_heads": 4, "kv_num_heads": 2})
    case("grouped4", "Attention", [x(r(1, 4, 3, 2)), x(r(1, 2, 4, 2)), x(r(1, 2, 4, 2))])
    case("mask2", "Attention", [x(r(1, 2, 3, 4)), x(r(1, 2, 5, 4)), x(r(1, 2, 5, 4)), x(r(3, 5))])
    case("mask3", "Attention", [x(r(1, 2, 3, 4)), x(r(1, 2, 5, 4)), x(r(1, 2, 5, 4)), x(r(2, 3, 5))])
    case("mask4", "Attention", [x(r(2, 3, 6)), x(r(2, 4, 6)), x(r(2, 4, 6)), x(r(2, 1, 1, 4))], heads)
    case("mask_images", "Attention", [images(r(2, 3, 6)), images(r(2, 4, 6)), images(r(2, 4, 6)), images(r(2, 3, 3, 4))], heads, batch=2)
    case("mask_softcap", "Attention", [x(r(1, 1, 3, 4)), x(r(1, 1, 3, 4)), x(r(1, 1, 3, 4)), x(r(3, 3))], {"softcap": 1.5})
    lower = np.array([[1, 0, 1, 1], [1, 1, 0, 0], [0, 1, 1, 1]], bool)
    case("mask_bool", "Attention", [x(r(1, 2, 3, 4)), x(r(1, 2, 4, 4)), x(r(1, 2, 4, 4)), x(lower)])
    none = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 1, 1]], bool)
    case("mask_nothing", "Attention", [x(r(1, 2, 3, 4)), x(r(1, 2, 4, 4)), x(r(1, 2, 4, 4)), x(none)])
    case("many_queries", "Attention", [x(r(1, 1, 207, 1)), x(r(1, 1, 2, 1)), x(r(1, 1, 2, 1))])


def rotation():
    r = Random("RotaryEmbedding")

    def caches(*shape):
        angles = r(*shape, low=-3, high=3)
        return np.cos(angles), np.sin(angles)

    def given(*shape):
        return [x(table) for table in caches(*shape)]

    def constants(repeat, *shape):
        """For every image alike: ONNX gets the tables `repeat` times."""
        return [Tensor(np.repeat(t, repeat, 0), constant=True, graph_array=t) for t in caches(*shape)]

    for interleaved in (0, 1):
        n = "interleaved" if interleaved else "halves"
        i = {"interleaved": interleaved}
        case(f"{n}_rank3", "RotaryEmbedding", [x(r(1, 5, 12)), *given(1, 5, 2)], i | {"num_heads": 3})
        case(f"{n}_rank4", "RotaryEmbedding", [x(r(2, 3, 5, 6)), *given(2, 5, 3)], i)
        case(f"{n}_partly", "RotaryEmbedding", [x(r(1, 4, 18)), *given(1, 4, 2)], i | {"num_heads": 2, "rotary_embedding_dim": 4})
        case(f"{n}_partly4", "RotaryEmbedding", [x(r(1, 3, 4, 7)), *given(1, 4, 3)], i | {"rotary_embedding_dim": 6})
        case(f"{n}_images", "RotaryEmbedding", [images(r(3, 5, 40)), *constants(3, 1, 5, 10)], i | {"num_heads": 2}, batch=3)
        case(f"{n}_images4", "RotaryEmbedding", [images(r(2, 2, 3, 34)), *constants(2, 1, 3, 17)], i, batch=2)
        case(f"{n}_images_own", "RotaryEmbedding", [images(r(2, 4, 8)), *map(images, caches(2, 4, 2))], i | {"num_heads": 2}, batch=2)
        case(f"{n}_positions", "RotaryEmbedding", [x(r(2, 4, 8)), *map(const, caches(7, 2)), const(r.generator.integers(0, 7, (2, 4)))],
             i | {"num_heads": 2})
        positions = r.generator.integers(0, 6, (1, 4))
        ids = Tensor(np.repeat(positions, 3, 0), constant=True, graph_array=positions)
        case(f"{n}_positions_images", "RotaryEmbedding", [images(r(3, 4, 8)), *map(const, caches(6, 4)), ids], i | {"num_heads": 1}, batch=3)
        case(f"{n}_positions_given", "RotaryEmbedding", [images(r(2, 2, 3, 4)), *map(const, caches(5, 2)),
             images(r.generator.integers(0, 5, (2, 3)))], i, batch=2)
    for width in (2, 6, 14, 16, 18, 30, 32, 34, 48, 62, 64, 66, 96, 128):
        for interleaved in (0, 1):
            case(f"width{width}_{interleaved}", "RotaryEmbedding", [images(r(2, 2, 2 * width)), *constants(2, 1, 2, width // 2)],
                 {"num_heads": 2, "interleaved": interleaved}, batch=2)


def movement():
    r = Random("Transpose")
    case("reversed", "Transpose", [x(r(2, 3, 4))])
    case("perm", "Transpose", [x(r(2, 3, 4, 2))], {"perm": [0, 2, 1, 3]})
    case("images", "Transpose", [images(r(2, 3, 4))], {"perm": [0, 2, 1]}, batch=2)
    case("int64", "Transpose", [x(np.arange(6, dtype=np.int64).reshape(2, 3))], {"perm": [1, 0]})
    case("uint8", "Transpose", [x(np.arange(6, dtype=np.uint8).reshape(1, 2, 3))], {"perm": [2, 0, 1]})
    r = Random("Reshape")
    case("rest", "Reshape", [x(r(2, 3, 4)), ints(3, -1)])
    case("copied", "Reshape", [x(r(2, 3, 4)), ints(0, 0, 2, -1)])
    case("scalar", "Reshape", [x(r(1, 1)), const(np.zeros(0, np.int64))])
    case("images_symbol", "Reshape", [images(r(2, 3, 4)), target([2, 2, 6], [1, 2, 6])], batch=2)
    case("images_copied", "Reshape", [images(r(2, 6, 4)), ints(0, 2, 3, -1)], batch=2)
    case("images_merged", "Reshape", [images(r(2, 3, 4)), ints(-1, 4)], batch=2)
    case("images_apart", "Reshape", [images(r(6, 4)), ints(-1, 3, 4)], batch=2)
    case("images_literal", "Reshape", [images(r(2, 3, 4)), Tensor(np.array([2, 12], np.int64), False, True, np.array([1, 12], np.int64))],
         batch=2)
    case("int32", "Reshape", [x(np.arange(6, dtype=np.int32)), ints(2, 3)], {"allowzero": 1})
    r = Random("Flatten")
    case("default", "Flatten", [images(r(2, 3, 4))], batch=2)
    case("zero", "Flatten", [x(r(2, 3))], {"axis": 0})
    case("negative", "Flatten", [x(r(2, 3, 4))], {"axis": -1})
    case("end", "Flatten", [x(r(2, 3))], {"axis": 2})
    r = Random("Squeeze")
    case("input", "Squeeze", [x(r(1, 3, 1, 2)), ints(0, -2)])
    case("attribute", "Squeeze", [x(r(1, 3, 1))], {"axes": [2]}, opset=11)
    case("all", "Squeeze", [x(r(1, 3, 1, 2))])
    case("images", "Squeeze", [images(r(2, 1, 3)), ints(1)], batch=2)
    case("images_all", "Squeeze", [images(r(2, 1, 3))], batch=2)
    r = Random("Unsqueeze")
    case("input", "Unsqueeze", [x(r(3, 2)), ints(0, -1)])
    case("attribute", "Unsqueeze", [x(r(3, 2))], {"axes": [1]}, opset=11)
    case("images", "Unsqueeze", [images(r(2, 3)), ints(1, 2)], batch=2)
    r = Random("Expand")
    case("rows", "Expand", [x(r(3, 1)), ints(2, 3, 4)])
    case("smaller", "Expand", [x(r(2, 3)), ints(1)])
    case("class_token", "Expand", [const(r(1, 1, 4)), target([3, 1, 4], [1, 1, 4])], batch=3)
    case("images", "Expand", [images(r(2, 1, 3)), ints(1, 4, 1)], batch=2)
    case("images_symbol", "Expand", [images(r(2, 1, 3)), target([2, 4, 3], [1, 4, 3])], batch=2)
    r = Random("Identity")
    case("values", "Identity", [x(r(2, 3))])
    case("int8", "Identity", [x(np.array([-3, 4], np.int8))])


def joining():
    r = Random("Concat")
    case("first", "Concat", [x(r(2, 3)), x(r(1, 3)), x(r(3, 3))], {"axis": 0})
    case("last", "Concat", [x(r(2, 3)), x(r(2, 1))], {"axis": -1})
    case("single", "Concat", [x(r(2, 3))], {"axis": 1})
    token = r(1, 1, 4)
    case("class_token", "Concat", [Tensor(np.repeat(token, 2, 0), constant=True, graph_array=token), images(r(2, 3, 4))], {"axis": 1},
         batch=2)
    case("int64", "Concat", [x(np.array([3], np.int64)), x(np.array([4, 5], np.int64))], {"axis": 0})
    r = Random("Split")
    case("equal", "Split", [x(r(2, 6))], {"axis": 1}, outputs=3, opset=13)
    case("sizes", "Split", [x(r(2, 6)), ints(1, 3, 2)], {"axis": -1}, outputs=3)
    case("uneven", "Split", [x(r(7, 2))], {"axis": 0, "num_outputs": 3}, outputs=3)
    case("omitted", "Split", [x(r(2, 6)), ints(1, 3, 2)], {"axis": 1}, outputs=3, omit=(1,))
    case("images", "Split", [images(r(2, 3, 6)), ints(2, 2, 2)], {"axis": 2}, outputs=3, batch=2)
    r = Random("Slice")
    case("plain", "Slice", [x(r(5, 4)), ints(1, 0), ints(4, 2)])
    case("to_the_end", "Slice", [x(r(5, 4)), ints(2), ints(2**63 - 1), ints(0)])
    case("negative", "Slice", [x(r(5, 4)), ints(-3), ints(-1), ints(-1)])
    case("steps", "Slice", [x(r(7, 4)), ints(1), ints(7), ints(0), ints(3)])
    case("backwards", "Slice", [x(r(5, 3)), ints(-1), ints(-(2**63)), ints(0), ints(-2)])
    case("backwards_part", "Slice", [x(r(6)), ints(4), ints(1), ints(0), ints(-1)])
    case("clamped", "Slice", [x(r(4, 3)), ints(-100, 1), ints(100, 50)])
    case("int32_ranges", "Slice", [x(r(4)), const(np.array([1], np.int32)), const(np.array([3], np.int32))])
    case("images", "Slice", [images(r(2, 5, 4)), ints(0), ints(1), ints(1)], batch=2)
    case("images_full", "Slice", [images(r(2, 5, 4)), ints(0, 1), ints(2**63 - 1, 4), ints(0, 1)], batch=2)
    r = Random("Pad")
    case("zeros", "Pad", [x(r(2, 3)), ints(1, 0, 0, 2)])
    case("constant", "Pad", [x(r(2, 3)), ints(0, 1, 2, 0), const(np.array(-1.5, np.float32))])
    case("axes", "Pad", [x(r(2, 3, 4)), ints(1, 2, 0, 1), None, ints(-1, 1)], {"mode": "constant"})
    case("images", "Pad", [images(r(2, 3, 2, 4)), ints(0, 0, 1, 0, 0, 2, 1, 0)], batch=2)
    case("images_constant", "Pad", [images(r(3, 2, 4)), ints(0, 0, 1, 0, 1, 0), const(np.array(2, np.float32))], batch=3)
    case("int64", "Pad", [x(np.array([3, 4], np.int64)), ints(1, 1), const(np.array([7], np.int64))])
    r = Random("Gather")
    case("scalar", "Gather", [x(r(3, 4)), const(np.array(1, np.int64))], {"axis": 0})
    case("scalar_negative", "Gather", [x(r(3, 4)), const(np.array(-1, np.int64))], {"axis": 1})
    case("vector", "Gather", [x(r(3, 4)), ints(2, 0, -1)], {"axis": -1})
    case("matrix", "Gather", [x(r(3, 2)), const(np.array([[0, 2], [1, 1]], np.int32))])
    case("class_token", "Gather", [images(r(2, 3, 4)), const(np.array(0, np.int64))], {"axis": 1}, batch=2)
    case("table", "Gather", [const(r(5, 3)), images(np.array([[0, 4], [2, -1]], np.int64))], {"axis": 0}, batch=2)
    case("bool", "Gather", [x(np.array([[True, False], [False, True]])), ints(1)])
    case("float", "Constant", [], {"value_float": 1.5})
    case("floats", "Constant", [], {"value_floats": [1.5, -2.0, 3e-5]})
    case("int", "Constant", [], {"value_int": 2**40})
    case("ints", "Constant", [], {"value_ints": [1, -1, 2**62]})


def main():
    for build in (elementwise, cast, reductions, products, convolution, attention, rotation, movement, joining):
        build()
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for op, cases in files.items():
        (GOLDEN / f"{op}.txt").write_text("".join(cases))
    print(sum(map(len, files.values())), "cases with onnx", onnx.__version__)


if __name__ == "__main__":
    main()
