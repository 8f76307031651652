"""Sources of models that lie, with the standard library alone, and what an import of each may cost.

    hostile.py VITC FOLDER [LOOSE]

Each must be refused: exit status 3, one line of text that names the file, nothing written, within a second of CPU and with 100 MiB of
memory beside mapped files (not with LOOSE, for a vitc with sanitizers). Prints a line for each and the count."""

import json
import os
import pathlib
import struct
import subprocess
import sys
import warnings
import zipfile

import hostile_onnx

SECONDS, MEBIBYTES = 1, 100
CASES = []


def case(name):
    """A function that makes its source in an empty folder and gives its path."""

    def add(function):
        CASES.append((name, function))
        return function

    return add


def cases(kind, table, make):
    for name, argument in table.items():
        CASES.append((f"{kind}: {name}", lambda folder, argument=argument: make(folder, argument)))


# ---- checkpoints of torch.save


def checkpoint(folder, pickled, entries=(("archive/data/0", bytes(16)),), **options):
    path = folder / "m.pth"
    with zipfile.ZipFile(path, "w", **options) as target:
        target.writestr("archive/data.pkl", pickled)
        for name, data in entries:
            target.writestr(name, data)
    return path


STORAGE = b"((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0000X\3\0\0\0cpuK\4tQ"


def tensor(offset=b"K\0", sizes=b"K\2K\2\x86", strides=b"K\2K\1\x86"):
    return (b"\x80\2}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n" + STORAGE + offset + sizes + strides + b"\x89}tRs.")


def long(value):
    return b"\x8a\x08" + struct.pack("<q", value)


LAUGHS = b"]q\0" + b"".join(b"](" + (b"h" + bytes([i])) * 10 + b"eq" + bytes([i + 1]) for i in range(200))
cases("checkpoint", {
    "os.system": b"\x80\2cos\nsystem\nX\5\0\0\0touchX\3\0\0\0ran\x86R.",
    "posix.system": b"\x80\2cposix\nsystem\nX\x09\0\0\0touch ran\x85R.",
    "builtins.eval": b"\x80\2cbuiltins\neval\nX\4\0\0\0 1/0\x85R.",
    "builtins.exec of Python 2": b"\x80\2c__builtin__\nexec\n)R.",
    "subprocess.Popen by NEWOBJ": b"\x80\2csubprocess\nPopen\nX\2\0\0\0id\x85\x81.",
    "webbrowser.open by INST": b"(X\1\0\0\0aiwebbrowser\nopen\n.",
    "os.system by STACK_GLOBAL": b"\x80\4\x8c\2os\x8c\6system\x93\x8c\2id\x85R.",
    "a call by OBJ": b"(cos\nsystem\nX\2\0\0\0ido.",
    "a reducer of another module in a state dict": b"\x80\2}X\1\0\0\0wctorch.hub\nload\n)Rs.",
    "an extension (EXT1)": b"\x80\2\x82\1.",
    "lists of lists of lists": b"\x80\2(" + LAUGHS + b"t.",
    "two million memos": b"\x80\2]" + b"".join(b"r" + struct.pack("<I", i) for i in range(2_000_000)) + b".",
    "a memo of 2^32": b"\x80\2]r\xff\xff\xff\xff.",
    "20 million lists": b"\x80\2(" + b"]" * 20_000_000 + b"e.",
    "a nesting of 10 million tuples": b"\x80\2N" + b"\x85" * 10_000_000 + b".",
    "a dict that holds itself": b"\x80\2}q\0X\5\0\0\0modelh\0s.",
    "a text of 4 GiB": b"\x80\2X\xff\xff\xff\xff.",
    "an offset past the storage": tensor(offset=b"K\1"),
    "an offset of 2^62": tensor(offset=long(2**62)),
    "strides past the storage": tensor(strides=b"K\3K\1\x86"),
    "strides that overflow": tensor(strides=long(2**62) + b"K\1\x86"),
    "negative strides": tensor(strides=b"J\xff\xff\xff\xffK\1\x86"),
    "sizes that overflow": tensor(sizes=long(2**40) + long(2**40) + b"\x86"),
    "a terabyte of one element": tensor(sizes=long(2**20) + long(2**20) + b"\x86", strides=b"K\0K\0\x86"),
}, checkpoint)


@case("checkpoint: a zip bomb")
def zip_bomb(folder):
    return checkpoint(folder, tensor(), [("archive/data/0", bytes(300 << 20))], compression=zipfile.ZIP_DEFLATED)


@case("checkpoint: entries of one name")
def same_names(folder):
    warnings.simplefilter("ignore")
    return checkpoint(folder, tensor(), [("archive/data/0", bytes(16)), ("archive/data/0", bytes(16))])


@case("checkpoint: tensors of one name")
def same_tensors(folder):
    entry = tensor()[3:-2]
    return checkpoint(folder, b"\x80\2}(" + entry + entry + b"u.")


@case("checkpoint: entries that overlap")
def overlap(folder):
    path = checkpoint(folder, tensor(), [("archive/data/0", bytes(16)), ("archive/data/1", bytes(64))])
    data = bytearray(path.read_bytes())
    record, local = data.rindex(b"archive/data/0") - 46, data.index(b"archive/data/0") - 30
    for at in (record + 20, record + 24, local + 18, local + 22):
        struct.pack_into("<I", data, at, 90)
    path.write_bytes(data)
    return path


@case("checkpoint: sizes of 2^63 in zip64")
def zip64(folder):
    path = folder / "m.pth"
    with zipfile.ZipFile(path, "w") as target:
        target.writestr("archive/data.pkl", tensor())
        with target.open("archive/data/0", "w", force_zip64=True) as entry:
            entry.write(bytes(16))
    data = bytearray(path.read_bytes())
    record = data.rindex(b"archive/data/0") - 46
    struct.pack_into("<II", data, record + 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<H", data, record + 30, 20)
    extra = struct.pack("<HHQQ", 1, 16, 1 << 63, 1 << 63)
    data[record + 46 + 14 : record + 46 + 14] = extra
    struct.pack_into("<I", data, len(data) - 10, struct.unpack_from("<I", data, len(data) - 10)[0] + 20)
    path.write_bytes(data)
    return path


# ---- safetensors, and the folders of transformers and timm


def blob(folder, header):
    path = folder / "m.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    return path


EMPTY = b'{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
cases("safetensors", {
    "16 MiB of brackets": b'{"a":' + b"[" * (16 << 20),
    "16 million bytes of numbers": b'{"a":{"dtype":"U8","shape":[' + b"0," * 8_000_000 + b'0],"data_offsets":[0,0]}}',
    "64 MiB of spaces": b"{" + b" " * (64 << 20) + b"}",
    "a million tensors": b"{" + b",".join(b'"%x":' % i + EMPTY for i in range(1_000_000)) + b"}",
    "50,000 tensors and one twice": b"{" + b",".join(b'"%x":' % i + EMPTY for i in [*range(50_000), 7]) + b"}",
    "a tensor of 2^53 bytes": b'{"a":{"dtype":"U8","shape":[9007199254740992],"data_offsets":[0,9007199254740992]}}',
    "a shape that overflows": b'{"a":{"dtype":"F64","shape":[4294967296,4294967296],"data_offsets":[0,0]}}',
}, blob)


def index_of(folder, text):
    (folder / "config.json").write_text('{"model_type": "vit"}')
    (folder / "model.safetensors.index.json").write_text(text)
    return folder


def mapped(entries):
    return json.dumps({"metadata": {"total_size": 1e300}, "weight_map": entries})


cases("index", {
    "a file above": mapped({"a": "../../etc/passwd"}),
    "an absolute path": mapped({"a": "/etc/passwd"}),
    "a folder below": mapped({"a": "sub/m.safetensors"}),
    "the folder itself": mapped({"a": "."}),
    "the index itself": mapped({"a": "model.safetensors.index.json"}),
    "no file": mapped({"a": None}),
    "a missing file": mapped({"a": "none.safetensors"}),
    "400,000 names of missing files": mapped({f"{i:x}": f"s{i % 200}" for i in range(400_000)}),
    "100,000 files": mapped({f"{i:x}": f"{i:x}" for i in range(100_000)}),
    "no map": "{}",
    "a nesting of 8 million": '{"weight_map":' * 8_000_000,
    "64 MiB of a name": mapped({"a" * (64 << 20): "a"}),
}, index_of)


@case("index: 400,000 names of 200 files")
def names(folder):
    for i in range(200):
        header = b'{"%x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}' % i
        (folder / f"s{i}").write_bytes(struct.pack("<Q", len(header)) + header + b"x")
    return index_of(folder, mapped({f"{i:x}": f"s{i % 200}" for i in range(400_000)}))


def config_of(folder, text):
    (folder / "config.json").write_text(text)
    return folder


cases("config.json", {
    "a nesting of 16 million": "[" * (16 << 20),
    "16 million numbers": "[" + "0," * (8 << 20) + "0]",
    "a name of 64 MiB": '{"model_type": "' + "a" * (64 << 20) + '"}',
    "a depth of 2^62": '{"model_type": "vit", "num_hidden_layers": 4611686018427387904}',
    "the widest ViT": '{"model_type": "vit", "hidden_size": 65536, "num_hidden_layers": 1000, "num_attention_heads": 1, '
                      '"intermediate_size": 1048576, "image_size": 16384, "patch_size": 1}',
}, config_of)


# ---- all of them


def run(vitc, source, target, mebibytes):
    """Exit status, text and CPU seconds of one import."""
    measured = pathlib.Path(__file__).with_name("measure.py")
    command = [sys.executable, measured, str(mebibytes), vitc, "import", source, "-o", target]
    process = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
    text, _, figures = process.stdout.decode(errors="replace").rstrip().rpartition("\n")
    status, seconds = figures.split()
    return int(status), text.strip("\n"), float(seconds)


def main():
    vitc, base, loose = sys.argv[1], pathlib.Path(sys.argv[2]), len(sys.argv) > 3
    CASES.extend((f"ONNX: {name}", make) for name, make in hostile_onnx.CASES.items())
    CASES.extend(hostile_onnx.HARMLESS.items())
    passed = 0
    for number, (name, make) in enumerate(CASES):
        folder = base / f"case{number}"
        folder.mkdir()
        source = make(folder)
        (base / "out").mkdir(exist_ok=True)
        status, text, seconds = run(vitc, source, base / "out" / "m.json", 0 if loose else MEBIBYTES)
        refused = status == 3 and text.startswith(f"vitc: {folder}") and "\n" not in text and not list((base / "out").iterdir())
        good = status == 0 if name in hostile_onnx.HARMLESS else refused
        cheap = loose or seconds < SECONDS
        passed += good and cheap
        print(f"{'pass' if good and cheap else 'FAIL'}  {name}  {status}, {seconds:.2f} s: "
              f"{text.strip().replace(str(folder) + '/', '')[:160]}", flush=True)
        subprocess.run(["rm", "-rf", folder, base / "out"], check=True)
    print(f"{passed} passed, {len(CASES) - passed} failed")
    sys.exit(passed != len(CASES))


if __name__ == "__main__":
    main()
