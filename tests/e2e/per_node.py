"""What compare --per-node says of a small graph with a planted outlier channel, against NumPy in double precision.

    per_node.py make FOLDER               graph.json, graph.safetensors, x.npy
    per_node.py check FOLDER PRECISION JSON   the comparison's JSON in that precision

The graph: x -> MatMul (first) -> LayerNormalization, whose gain of channel 37 is 40 times the others' -> MatMul, Gelu (up) -> MatMul
and a residual (down) -> MatMul (last). In int8 its first and last products are in bf16."""

import json
import pathlib
import struct
import sys

import numpy as np

ROWS, WIDTH, HIDDEN, CLASSES, OUTLIER = 24, 128, 256, 48, 37
IMAGES = 2


def weights():
    random = np.random.default_rng(7)

    def matrix(rows, columns):
        return (random.standard_normal((rows, columns)) / np.sqrt(rows)).astype(np.float32)

    gain = random.uniform(0.8, 1.2, WIDTH).astype(np.float32)
    gain[OUTLIER] = 40
    return {"first.weight": matrix(WIDTH, WIDTH), "norm.weight": gain,
            "norm.bias": (0.1 * random.standard_normal(WIDTH)).astype(np.float32),
            "up.weight": matrix(WIDTH, HIDDEN), "down.weight": matrix(HIDDEN, WIDTH), "last.weight": matrix(WIDTH, CLASSES)}


def pixels():
    return np.random.default_rng(8).standard_normal((IMAGES, ROWS, WIDTH)).astype(np.float32)


def write_safetensors(path, tensors):
    header, at = {}, 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [at, at + tensor.nbytes]}
        at += tensor.nbytes
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(tensor.tobytes() for tensor in tensors.values()))


def node(op, inputs, output, **attrs):
    return {"op": op, "inputs": inputs, "outputs": [output], "attrs": attrs}


def make(folder):
    write_safetensors(folder / "graph.safetensors", weights())
    np.save(folder / "x.npy", pixels())
    graph = {"format": "vitc", "version": 1, "name": "planted",
             "inputs": [{"name": "x", "dtype": "float32", "shape": ["N", ROWS, WIDTH]}], "outputs": ["classes"],
             "nodes": [node("MatMul", ["x", "first.weight"], "stem"),
                       node("LayerNormalization", ["stem", "norm.weight", "norm.bias"], "normed", axis=-1, epsilon=1e-6),
                       node("MatMul", ["normed", "up.weight"], "wide"), node("Gelu", ["wide"], "bent"),
                       node("MatMul", ["bent", "down.weight"], "narrow"), node("Add", ["narrow", "stem"], "sum"),
                       node("MatMul", ["sum", "last.weight"], "classes")]}
    (folder / "graph.json").write_text(json.dumps(graph))


def gelu(x):
    return 0.5 * x * (1 + np.vectorize(__import__("math").erf)(x / np.sqrt(2)))


def exact():
    """The values, rounded once as the interpreter rounds them."""
    w = {name: tensor.astype(np.float64) for name, tensor in weights().items()}

    def rounded(x):
        return x.astype(np.float32).astype(np.float64)

    v = {"x": pixels().astype(np.float64)}
    v["stem"] = rounded(v["x"] @ w["first.weight"])
    centred = v["stem"] - v["stem"].mean(-1, keepdims=True)
    v["normed"] = rounded(centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * w["norm.weight"] + w["norm.bias"])
    v["bent"] = rounded(gelu(v["normed"] @ w["up.weight"]))
    v["sum"] = rounded(v["bent"] @ w["down.weight"] + v["stem"])
    v["classes"] = rounded(v["sum"] @ w["last.weight"])
    return w, v


def bf16(x):
    bits = x.astype(np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16).astype(np.uint32).view(np.float32).astype(np.float64)


def hadamard(x):
    """Blocks of 128 along the last axis, Sylvester's order, not scaled."""
    h = np.array([[1.0]])
    while len(h) < 128:
        h = np.block([[h, h], [h, -h]])
    return (x.reshape(*x.shape[:-1], -1, 128) @ h).reshape(x.shape)


def int8(x, w):
    """x @ w by the scheme of compiler/plan/quantize.h: rows of x as u8 with an offset, columns of w as s8."""
    x, w = hadamard(x), hadamard(w.T).T / 128
    sum_bits = (127 * len(w)).bit_length() + 1  # of a column's sum; the scale has the other bits of a word, rounded up
    below = (1 << sum_bits - 1) - 1
    bits = (np.abs(w).max(0) / 127).astype(np.float32).view(np.uint32).astype(np.int64)
    scale = ((bits + below) & ~below).astype(np.uint32).view(np.float32).astype(np.float64)
    low, high = np.minimum(x.min(-1, keepdims=True), 0), np.maximum(x.max(-1, keepdims=True), 0)
    step = (high - low) / 255
    return (np.round((x - low) / step) * step + low) @ (np.round(w / scale) * scale)


def own_rms(got, want):
    return np.sqrt(((got - want) ** 2).mean()) / want.std()


def close(name, got, want, share):
    assert abs(got - want) <= share * abs(want), f"{name}: {got}, expected {want}"


def check_range(name, found, x, axis_of_rows=True):
    flat = x.reshape(-1, x.shape[-1])
    rows = np.abs(flat).max(1) / np.sqrt((flat**2).mean(1))
    columns = np.abs(flat).max(0)
    for key, want in {"min": flat.min(), "max": flat.max(), "rms": np.sqrt((flat**2).mean()),
                      "crest": np.abs(flat).max() / np.sqrt((flat**2).mean()), "row_crest_mean": rows.mean(),
                      "row_crest_max": rows.max(), "median_channel_max": np.median(columns),
                      "channel_crest_max": (columns / np.sqrt((flat**2).mean(0))).max()}.items():
        close(f"{name}: {key}", found[key], want, 1e-6)
    first = found["outliers"]
    order = np.argsort(-columns, kind="stable")[:3]
    assert [o["channel"] for o in first] == order.tolist(), f"{name}: {first}, expected {order}"
    for outlier in first:
        close(f"{name}: outlier", outlier["max"], columns[outlier["channel"]], 1e-6)
        close(f"{name}: ratio", outlier["ratio"], columns[outlier["channel"]] / np.median(columns), 1e-6)
    assert found["not_finite"] == 0


def check(folder, precision, path):
    w, v = exact()
    document = json.loads(pathlib.Path(path).read_text())
    nodes = {entry["name"]: entry for entry in document["nodes"]}
    assert {"stem", "bent", "sum", "classes"} <= nodes.keys(), nodes.keys()
    planted = nodes["bent"]["operands"][0]
    assert planted["name"] == "norm", planted["name"]
    assert planted["range"]["outliers"][0]["channel"] == OUTLIER and planted["range"]["outliers"][0]["ratio"] > 20
    for name, operand, weight in (("stem", "x", "first.weight"), ("bent", "normed", "up.weight"), ("sum", "bent", "down.weight"),
                                  ("classes", "sum", "last.weight")):
        check_range(f"operand of {name}", nodes[name]["operands"][0]["range"], v[operand])
        check_range(f"result {name}", nodes[name]["result"], v[name])
        check_range(f"weights of {name}", nodes[name]["weights"], w[weight])
        own = nodes[name]["own_rms_error_over_std"]
        if precision == "fp32":
            assert own < 1e-6, f"{name}: own error {own} in fp32"
            continue
        assert nodes[name]["rms_error_over_std"] > 0.5 * own
        if nodes[name]["product"]["precision"] == "bf16":
            product = bf16(v[operand]) @ bf16(w[weight])
        elif name != "bent":
            product = int8(v[operand], w[weight])
            crest = np.abs(hadamard(v[operand])).max(-1) / np.sqrt((hadamard(v[operand]) ** 2).mean(-1))
            close("crest as quantised", nodes[name]["operands"][0]["quantized_row_crest_max"], crest.max(), 1e-6)
        else:
            continue  # the balance of a LayerNormalization's channels is tested beside it
        product = gelu(product) if name == "bent" else product + v["stem"] if name == "sum" else product
        close(f"{name}: own error", own, own_rms(product, v[name]), 0.03)
        print(f"{name}: own error {own:.4g}")
    if precision == "int8":
        assert [nodes[n]["product"]["precision"] for n in ("stem", "bent", "sum", "classes")] == ["int8", "int8", "int8", "bf16"]
        assert nodes["bent"]["product"]["balanced"] and nodes["bent"]["product"]["hadamard"] == 128


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(pathlib.Path(sys.argv[2]))
    else:
        check(pathlib.Path(sys.argv[2]), *sys.argv[3:])
