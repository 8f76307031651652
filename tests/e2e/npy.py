"""Small jobs on .npy files of float32, with nothing but the standard library.

    npy.py random OUT SEED DIM...       uniform in [-2, 2)
    npy.py slice IN INDEX OUT           one image of a batch, as a batch of 1
    npy.py same A B                     the same shape and bits
    npy.py close A B [TOLERANCE]        largest absolute difference over the standard deviation of B, at most 2e-5"""

import array
import ast
import random
import struct
import sys


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    assert data[:6] == b"\x93NUMPY", f"{path}: not a .npy file"
    size = struct.unpack("<H", data[8:10])[0] if data[6] == 1 else struct.unpack("<I", data[8:12])[0]
    start = 10 if data[6] == 1 else 12
    header = ast.literal_eval(data[start : start + size].decode("latin1"))
    assert header["descr"] == "<f4" and not header["fortran_order"], f"{path}: not row-major float32"
    values = array.array("f")
    values.frombytes(data[start + size :])
    count = 1
    for dim in header["shape"]:
        count *= dim
    assert count == len(values), f"{path}: {len(values)} values, shape {header['shape']}"
    return header["shape"], values


def write(path, shape, values):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({', '.join(map(str, shape))},), }}"
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode("latin1") + values.tobytes())


def make_random(path, seed, *dims):
    shape = [int(dim) for dim in dims]
    count = 1
    for dim in shape:
        count *= dim
    draw = random.Random(int(seed)).random
    write(path, shape, array.array("f", (draw() * 4 - 2 for _ in range(count))))


def make_slice(source, index, path):
    shape, values = read(source)
    size = len(values) // shape[0]
    write(path, (1, *shape[1:]), values[int(index) * size : (int(index) + 1) * size])


def same(a, b):
    (shape_a, values_a), (shape_b, values_b) = read(a), read(b)
    if shape_a != shape_b:
        sys.exit(f"shapes {shape_a} and {shape_b}")
    if values_a.tobytes() != values_b.tobytes():
        sys.exit(f"{sum(x != y for x, y in zip(values_a, values_b))} of {len(values_a)} values differ")


def close(a, b, tolerance="2e-5"):
    (shape_a, values_a), (shape_b, values_b) = read(a), read(b)
    if shape_a != shape_b:
        sys.exit(f"shapes {shape_a} and {shape_b}")
    mean = sum(values_b) / len(values_b)
    deviation = (sum((y - mean) ** 2 for y in values_b) / len(values_b)) ** 0.5
    error = max(abs(x - y) for x, y in zip(values_a, values_b)) / deviation
    if not error <= float(tolerance):
        sys.exit(f"error {error:.3g}, at most {tolerance}")


if __name__ == "__main__":
    {"random": make_random, "slice": make_slice, "same": same, "close": close}[sys.argv[1]](*sys.argv[2:])
