"""Writes the .safetensors files of this folder. Those with an .err beside them each break one rule of the format; the others
are the weights of the .json cases. Standard library only.

    python3 tests/reject/make.py
"""

import pathlib
import struct

FOLDER = pathlib.Path(__file__).resolve().parent


def floats(*numbers):
    return struct.pack(f"<{len(numbers)}f", *numbers)


def write(name, header, data=b"", length=None):
    text = header.encode() if isinstance(header, str) else header
    prefix = struct.pack("<Q", len(text) if length is None else length)
    (FOLDER / f"{name}.safetensors").write_bytes(prefix + text + data)


def entry(name, dtype, shape, begin, end):
    return f'"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}'


def tensors(*entries):
    return "{" + ",".join(entries) + "}"


WEIGHT = entry("weight", "F32", [4, 3], 0, 48)
WEIGHT_DATA = floats(*range(12))
ONE = entry("a", "F32", [2], 0, 8)


def weights_of_json_cases():
    header = tensors(
        '"__metadata__":{"format":"pt"}',
        WEIGHT,
        entry("bias", "F32", [3], 48, 60),
        entry("scale", "F32", [], 60, 64),
        entry("table", "I64", [2], 64, 80),
    )
    write("good", header + "  ", WEIGHT_DATA + floats(1, 2, 3, 4) + struct.pack("<2q", 5, 6))
    bias = entry("bias", "F32", [3], 48, 60)
    write("nan", tensors(WEIGHT, bias), floats(*range(7), float("nan"), *range(4)) + floats(1, 2, 3))
    write("infinite", tensors(WEIGHT, bias), WEIGHT_DATA + floats(1, 2, float("inf")))
    half = struct.pack("<3H", 0xFC00, 0, 0)
    write("half_infinite", tensors(WEIGHT, entry("bias", "F16", [3], 48, 54)), WEIGHT_DATA + half)
    double = struct.pack("<3d", 1, 1e39, 1)
    write("double_range", tensors(WEIGHT, entry("bias", "F64", [3], 48, 72)), WEIGHT_DATA + double)
    write("bool", tensors(WEIGHT, entry("bias", "BOOL", [3], 48, 51)), WEIGHT_DATA + b"\1\2\0")
    write("empty", tensors(WEIGHT, entry("bias", "F32", [0], 48, 48)), WEIGHT_DATA)


def broken_lengths():
    (FOLDER / "file_empty.safetensors").write_bytes(b"")
    (FOLDER / "file_short.safetensors").write_bytes(b"\2\0\0\0\0\0\0")
    write("header_huge", tensors(ONE), bytes(8), length=100000001)
    write("header_overflow", tensors(ONE), bytes(8), length=2**64 - 8)
    write("header_cut", tensors(ONE), length=len(tensors(ONE)) + 1)
    write("header_empty", "")


def broken_headers():
    write("header_brace", " " + tensors(ONE), bytes(8))
    write("header_kind", "[]")
    write("header_syntax", tensors(ONE)[:-1] + ",}", bytes(8))
    write("header_rest", tensors(ONE) + " x", bytes(8))
    write("header_nul", tensors(ONE) + "\0", bytes(8))
    write("header_utf8", tensors(ONE).encode().replace(b'"a"', b'"\xff"'), bytes(8))
    write("header_duplicate", tensors(ONE, entry("a", "F32", [1], 8, 12)), bytes(12))
    write("header_duplicate_key", tensors(ONE.replace('"shape"', '"dtype":"F32","shape"')), bytes(8))
    write("header_duplicate_escaped", tensors(ONE, entry("\\u0061", "F32", [1], 8, 12)), bytes(12))
    write("header_deep", '{"a":' + "[" * 40 + "]" * 40 + "}")
    write("metadata_kind", tensors('"__metadata__":[]', ONE), bytes(8))
    write("metadata_value", tensors('"__metadata__":{"step":7}', ONE), bytes(8))


def broken_entries():
    write("entry_name", tensors(entry("", "F32", [2], 0, 8)), bytes(8))
    write("entry_kind", '{"a":"F32"}')
    write("dtype_missing", '{"a":{"shape":[2],"data_offsets":[0,8]}}', bytes(8))
    write("dtype_unknown", tensors(entry("a", "F8_E4M3", [2], 0, 2)), bytes(2))
    write("shape_missing", '{"a":{"dtype":"F32","data_offsets":[0,8]}}', bytes(8))
    write("shape_negative", tensors(entry("a", "F32", [-2], 0, 8)), bytes(8))
    write("shape_fraction", tensors(entry("a", "F32", [2.5], 0, 10)), bytes(10))
    write("shape_string", tensors(entry("a", "F32", '["2"]', 0, 8)), bytes(8))
    write("shape_huge", tensors(entry("a", "F32", [2**53 + 1], 0, 8)), bytes(8))
    write("shape_rank", tensors(entry("a", "F32", [1] * 9, 0, 4)), bytes(4))
    write("shape_overflow", tensors(entry("a", "F32", [2**31, 2**31, 4], 0, 0)))
    write("offsets_missing", '{"a":{"dtype":"F32","shape":[2]}}', bytes(8))
    write("offsets_three", '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}', bytes(8))
    write("offsets_reversed", tensors(entry("a", "F32", [2], 8, 0)), bytes(8))
    write("offsets_negative", tensors(entry("a", "F32", [2], -8, 0)), bytes(8))
    write("offsets_size", tensors(entry("a", "F32", [3], 0, 8)), bytes(8))


def broken_tilings():
    write("tiling_start", tensors(entry("a", "F32", [2], 4, 12)), bytes(12))
    write("tiling_gap", tensors(ONE, entry("b", "F32", [1], 12, 16)), bytes(16))
    write("tiling_overlap", tensors(ONE, entry("b", "F32", [1], 4, 8)), bytes(8))
    write("tiling_inside", tensors(entry("a", "F32", [4], 0, 16), entry("b", "F32", [1], 4, 8)), bytes(16))
    write("tiling_cut", tensors(ONE), bytes(7))
    write("tiling_rest", tensors(ONE), bytes(9))
    write("tiling_none", "{}", bytes(1))
    write("tiling_past", tensors(entry("a", "U8", [2**53], 0, 2**53)), bytes(8))


def main():
    weights_of_json_cases()
    broken_lengths()
    broken_headers()
    broken_entries()
    broken_tilings()


if __name__ == "__main__":
    main()
