"""ONNX models that lie, written field by field: protobuf's wire format needs no library."""

import os
import struct


def varint(value):
    value &= 2**64 - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def field(number, value):
    """A number, or a text or message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


FLOAT, STRING, INT64, DOUBLE = 1, 8, 7, 11


def tensor(name, dims, data=b"", dtype=FLOAT, more=b""):
    raw = field(9, data) if data is not None else b""
    return b"".join(field(1, dim) for dim in dims) + field(2, dtype) + field(8, name) + raw + more


def ints(name, values):
    return tensor(name, [len(values)], struct.pack(f"<{len(values)}q", *values), INT64)


def external(name, dims, **entries):
    listed = b"".join(field(13, field(1, key) + field(2, str(value))) for key, value in entries.items())
    return tensor(name, dims, None, more=listed + field(14, 1))


def attribute(name, value):
    if isinstance(value, list):
        return field(5, field(1, name) + b"".join(field(8, item) for item in value) + field(20, 7))
    if isinstance(value, str):
        return field(5, field(1, name) + field(4, value) + field(20, 3))
    if isinstance(value, float):
        return field(5, field(1, name) + varint(2 << 3 | 5) + struct.pack("<f", value) + field(20, 1))
    return field(5, field(1, name) + field(3, value) + field(20, 2))


def node(op, inputs, outputs, **attributes):
    return (b"".join(field(1, name) for name in inputs) + b"".join(field(2, name) for name in outputs) + field(4, op)
            + b"".join(attribute(name, value) for name, value in attributes.items()))


def value(name, dims, dtype=FLOAT):
    shape = b"".join(field(1, field(1, dim) if isinstance(dim, int) else field(2, dim)) for dim in dims)
    return field(1, name) + field(2, field(1, field(1, dtype) + field(2, shape)))


def model(nodes=(), initializers=(), inputs=None, output="y"):
    inputs = [value("x", ["N", 4])] if inputs is None else inputs
    graph = (b"".join(field(1, item) for item in nodes) + b"".join(field(5, item) for item in initializers)
             + b"".join(field(11, item) for item in inputs) + field(12, value(output, ["N", 4])))
    return field(1, 8) + field(7, graph) + field(8, field(2, 17))


def written(folder, data):
    path = folder / "m.onnx"
    path.write_bytes(data)
    return path


CASES = {}


def cases(table):
    for name, data in table.items():
        CASES[name] = lambda folder, data=data: written(folder, data() if callable(data) else data)


ADD = node("Add", ["x", "w"], ["y"])
W = tensor("w", [4], bytes(16))
IMAGE = [value("x", ["N", 3, 8, 8])]


def computed(op, inputs, constants, **attributes):
    """x + f, where the nodes make f of constants."""
    return model([node(op, inputs, ["f"], **attributes), node("Add", ["x", "f"], ["y"])], constants)


def chain(op, count, first, **attributes):
    """Each node takes what the one before made, twice."""
    nodes = [node(op, [f"c{i}", f"c{i}"], [f"c{i + 1}"], **attributes) for i in range(count)]
    return model([*nodes, node("Add", ["x", f"c{count}"], ["y"])], [first])


def nested(levels):
    """If in the graph of If, from the inside out."""
    prefixes, size = [], len(ADD)
    for _ in range(levels):
        for number in (6, 5, 1):  # Attribute.g, Node.attribute, Graph.node
            prefix = varint(number << 3 | 2) + varint(size)
            prefixes.append(prefix)
            size += len(prefix)
    return model([node("If", ["x"], ["y"]) + field(5, b"".join(reversed(prefixes)) + ADD)], [W])


# ---- files beside the model


def outside(location, prepare=lambda folder: None, **entries):
    def make(folder):
        below = folder / "model"
        below.mkdir()
        (folder / "secret").write_bytes(struct.pack("<4f", 1, 2, 3, 4))
        prepare(below)
        entries_of = {"location": str(folder / "secret") if location is None else location, **entries}
        return written(below, model([ADD], [external("w", [4], **entries_of)]))

    return make


def links(folder):
    os.symlink("../secret", folder / "link")
    os.symlink("..", folder / "up")
    os.symlink("/dev/zero", folder / "zero")
    os.mkfifo(folder / "pipe")
    (folder / "sub").mkdir()
    (folder / "w.bin").write_bytes(bytes(64))


CASES.update({
    "a file above": outside("../secret"),
    "an absolute path": outside(None),
    "a file above by a folder below": outside("sub/../../secret", links),
    "a link to a file above": outside("link", links),
    "a link to the folder above": outside("up/secret", links),
    "a link to a device": outside("zero", links),
    "a pipe": outside("pipe", links),
    "a folder": outside("sub", links),
    "no file": outside("none", links),
    "an offset past the file": outside("w.bin", links, offset=60),
    "an offset of 2^64 - 8": outside("w.bin", links, offset=2**64 - 8),
    "a length of 2^31": outside("w.bin", links, length=2**31),
    "a negative offset": outside("w.bin", links, offset=-16),
    "an empty location": outside("", links),
})

# ---- graphs

BIG, HUGE = 2**31 - 1, 2**62
cases({
    "two nodes in a circle": model([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Add", ["a", "w"], ["y"])], [W]),
    "a node that reads itself": model([node("Add", ["x", "y"], ["y"])]),
    "a value made twice": model([ADD, ADD], [W]),
    "a value that is an initializer": model([node("Relu", ["x"], ["w"]), ADD], [W]),
    "an output that nobody makes": model([ADD], [W], output="z"),
    "a product of integers": model([node("MatMul", ["x", "w"], ["y"])], [tensor("w", [4, 4], bytes(128), INT64)]),
    "strings": model([ADD], [tensor("w", [4], b"abcd", STRING)]),
    "an input of strings": model([ADD], [W], [value("x", ["N", 4], STRING)]),
    "a shape of floats": model([node("Reshape", ["x", "w"], ["y"])], [W]),
    "a permutation that is a text": model([node("Transpose", ["x"], ["y"], perm="ab")]),
    "a permutation of one axis twice": model([node("Transpose", ["x"], ["y"], perm=[0, 0])]),
    "an axis of 2^62": model([node("Softmax", ["x"], ["y"], axis=HUGE)]),
    "an axis that is a float": model([node("Softmax", ["x"], ["y"], axis=1.5)]),
    "two widths": model([node("Gemm", ["x", "w"], ["y"])], [tensor("w", [5, 4], bytes(80))]),
    "dims of 2^31": model([ADD], [tensor("w", [2**31, 2**31])]),
    "dims that overflow": model([ADD], [tensor("w", [2**32, 2**32])]),
    "a negative dim": model([ADD], [tensor("w", [-4], bytes(16))]),
    "a thousand dims": model([ADD], [tensor("w", [1] * 1000, bytes(4))]),
    "an input of 2^40 pixels": model([ADD], [W], [value("x", ["N", 3, 2**20, 2**20])]),
    "ConstantOfShape of 2^40": computed("ConstantOfShape", ["s"], [ints("s", [2**20, 2**20])]),
    "ConstantOfShape of -1": computed("ConstantOfShape", ["s"], [ints("s", [-1])]),
    "Expand to 2^40": computed("Expand", ["w", "s"], [W, ints("s", [2**38, 4])]),
    "Expand of the input to 2^40": model([node("Expand", ["x", "s"], ["y"])], [ints("s", [2**20, 2**20, 4])]),
    "Tile by 2^40": computed("Tile", ["w", "s"], [W, ints("s", [2**40])]),
    "Range to 2^62": computed("Range", ["a", "b", "c"], [tensor("a", [], bytes(8), INT64), tensor("b", [], struct.pack("<q", HUGE), INT64),
                                                         tensor("c", [], struct.pack("<q", 1), INT64)]),
    "Range by 0": computed("Range", ["a", "a", "a"], [tensor("a", [], bytes(8), INT64)]),
    "Resize by 10^9": model([node("Resize", ["x", "", "s"], ["y"], mode="linear")],
                            [tensor("s", [4], struct.pack("<4f", 1, 1, 1e9, 1e9))], IMAGE),
    "Resize to 2^62": model([node("Resize", ["x", "", "", "s"], ["y"], mode="linear")], [ints("s", [1, 3, HUGE, HUGE])], IMAGE),
    "Resize by NaN": model([node("Resize", ["x", "", "s"], ["y"], mode="linear")],
                           [tensor("s", [4], struct.pack("<4f", 1, 1, float("nan"), 2))], IMAGE),
    "Pad by 2^62": model([node("Pad", ["x", "s"], ["y"])], [ints("s", [0, 0, 0, HUGE])]),
    "Conv with pads of 2^62": model([node("Conv", ["x", "k"], ["y"], pads=[HUGE] * 4)], [tensor("k", [1, 3, 3, 3], bytes(108))], IMAGE),
    "Conv with strides of 0": model([node("Conv", ["x", "k"], ["y"], strides=[0, 0])], [tensor("k", [1, 3, 3, 3], bytes(108))], IMAGE),
    "Conv with dilations of 2^62": model([node("Conv", ["x", "k"], ["y"], dilations=[HUGE] * 2)],
                                         [tensor("k", [1, 3, 3, 3], bytes(108))], IMAGE),
    "Conv of 2^31 groups": model([node("Conv", ["x", "k"], ["y"], group=2**31)], [tensor("k", [1, 3, 3, 3], bytes(108))], IMAGE),
    "ConvTranspose with strides of 2^40": model([node("ConvTranspose", ["x", "k"], ["y"], strides=[2**40] * 2)],
                                                [tensor("k", [3, 1, 3, 3], bytes(108))], IMAGE),
    "Slice by steps of -2^63": model([node("Slice", ["x", "a", "b", "c", "d"], ["y"])],
                                     [ints("a", [0]), ints("b", [4]), ints("c", [1]), ints("d", [-(2**63)])]),
    "Split into 2^30": model([node("Split", ["x"], ["y"], axis=1, num_outputs=2**30)]),
    "Gather of 2^62": computed("Gather", ["w", "i"], [W, ints("i", [HUGE])]),
    "Reshape to 2^62": model([node("Reshape", ["x", "s"], ["y"])], [ints("s", [-1, HUGE])]),
    "40 Concats, each of the one before twice": lambda: chain("Concat", 40, ints("c0", [1]), axis=0),
    "20,000 Adds of 8,000 numbers": lambda: chain("Add", 20_000, ints("c0", [0] * 8000)),
    "70,000 nodes": lambda: model([node("Relu", ["x"], [f"r{i}"]) for i in range(70_000)] + [ADD], [W]),
    "60,000 values in Concat": lambda: model([node("Concat", ["x"] * 60_000, ["y"], axis=1)]),
    "an op that is not there": model([node("Frobnicate", ["x"], ["y"])]),
})

# ---- bytes

WHOLE = model([ADD], [W])
cases({
    "graphs in graphs, 100,000 deep": lambda: nested(100_000),
    "raw data of 2 GiB in a file of bytes": field(1, 8) + varint(7 << 3 | 2) + varint(BIG) + varint(5 << 3 | 2) + varint(BIG),
    "a length of 2^63": field(1, 8) + varint(7 << 3 | 2) + varint(2**63) + bytes(100),
    "a length past the end": WHOLE[:-10],
    "a number of eleven bytes": field(1, 8) + varint(8 << 3) + b"\xff" * 11,
    "wire type 7": field(1, 8) + bytes([7 << 3 | 7]),
    "groups in groups": bytes([15 << 3 | 3]) * 1_000_000,
    "24 MiB of empty nodes": lambda: field(1, 8) + field(7, b"\x0a\x00" * (12 << 20)) + field(8, field(2, 17)),
    "24 MiB of empty tensors": lambda: field(1, 8) + field(7, b"\x2a\x00" * (12 << 20)) + field(8, field(2, 17)),
    "24 MiB of dims of one byte": lambda: model([ADD], [b"\x08\x01" * (12 << 20) + field(2, 1) + field(8, "w")]),
    "48 MiB of packed integers": lambda: model([ADD], [field(1, 4) + field(2, INT64) + field(7, bytes(48 << 20)) + field(8, "w")]),
    "24 MiB of ints in an attribute": lambda: model([ADD + field(5, field(1, "a") + b"\x40\x00" * (12 << 20) + field(20, 7))], [W]),
    "20 MiB of ints and then 60 MiB of constants": lambda: model(
        [node("ConstantOfShape", ["s"], ["f"]) + field(5, field(1, "a") + b"\x40\x00" * (8 << 20) + field(20, 7)),
         *(node("Add", ["f", "f"], [f"g{i}"]) for i in range(60)), ADD], [W, ints("s", [1 << 18])], output="z"),
    "a name of 64 MiB": lambda: model([node("Add", ["x", "w" * (64 << 20)], ["y"])], [W]),
    "an op of 64 MiB": lambda: model([node("A" * (64 << 20), ["x"], ["y"])], [W]),
    "48 MiB of fields that nobody knows": lambda: WHOLE + b"\xf8\x07\x01" * (16 << 20),
    "weights of 8 MiB that nothing reads, and no output": lambda: model([ADD], [tensor("w", [2 << 20], bytes(8 << 20))], output="z"),
})


def sparse(folder):
    """2 GiB and a byte that take no space."""
    path = written(folder, WHOLE)
    os.truncate(path, 2**31 + 1)
    return path


CASES["2 GiB of zeros"] = sparse


def hub_cache(folder):
    """As a hub's cache has it: links to files of other names in another folder."""
    blobs, snapshot = folder / "blobs", folder / "snapshot"
    blobs.mkdir()
    snapshot.mkdir()
    (blobs / "f1").write_bytes(model([ADD], [external("w", [4], location="m.onnx_data")]))
    (blobs / "f2").write_bytes(struct.pack("<4f", 1, 2, 3, 4))
    os.symlink("../blobs/f1", snapshot / "m.onnx")
    os.symlink("../blobs/f2", snapshot / "m.onnx_data")
    return snapshot / "m.onnx"


def folder_below(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "w.bin").write_bytes(bytes(24))
    os.symlink("sub", folder / "link")
    return written(folder, model([ADD], [external("w", [4], location="link/w.bin", offset=8, length=16)]))


HARMLESS = {"takes ONNX of a hub's cache": hub_cache, "takes ONNX with data below": folder_below}
