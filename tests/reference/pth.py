"""Checkpoints of torch.save as the reader of .pth has them, against torch: every tensor bit for bit, in both containers.

    pth.py [--build FOLDER]

FOLDER/pth_dump rewrites a checkpoint as .safetensors, which is compared with what was saved: dtypes, views, shared storages,
nested checkpoints, prefixes of wrappers, sizes past 4 GiB (sparse). Then files that must be refused, hostile ones within a
second and little memory. Whole models are in pth_import.py."""

import argparse
import collections
import os
import pathlib
import pickle
import resource
import struct
import subprocess
import tempfile
import zipfile

import support
from support import ROOT, Checks

import torch
from safetensors.torch import load_file, save_file
from torch import nn

LEGACY = dict(_use_new_zipfile_serialization=False)
FORMS = {"zip": {}, "legacy": LEGACY}
SECONDS, PEAK_BYTES = 1, 100 << 20
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8,
          torch.uint8, torch.bool)


class Reader:
    def __init__(self, build, folder, checks):
        self.program, self.folder, self.checks, self.count = pathlib.Path(build) / "pth_dump", pathlib.Path(folder), checks, 0

    def path(self, ending):
        self.count += 1
        return self.folder / f"{self.count}{ending}"

    def save(self, checkpoint, form="zip"):
        path = self.path(".pth")
        torch.save(checkpoint, path, **FORMS[form])
        return path

    def read(self, path):
        out = self.path(".safetensors")
        result = subprocess.run([self.program, path, out], capture_output=True, text=True, timeout=60)
        if result.returncode:
            raise AssertionError(result.stderr.strip())
        return load_file(out)

    def equal(self, name, path, want):
        def compare():
            got = self.read(path)
            if set(got) != set(want):
                raise AssertionError(f"tensors {sorted(got)}, wanted {sorted(want)}")
            for key, tensor in want.items():
                tensor = tensor.detach().contiguous()
                tensor = tensor.int() if tensor.dtype == torch.int16 else tensor
                same = got[key].dtype == tensor.dtype and got[key].shape == tensor.shape
                if not same or bits(got[key]) != bits(tensor):
                    raise AssertionError(f"{key}: {got[key].dtype} {list(got[key].shape)}, differs from {tensor.dtype} "
                                         f"{list(tensor.shape)}")

        if self.checks.run(name, compare):
            self.checks.check(name, True)

    def both(self, name, checkpoint, want):
        for form in FORMS:
            self.equal(f"{name}, {form}", self.save(checkpoint, form), want)

    def refused(self, name, path, *parts):
        """One line that has all the parts, soon, and without taking memory."""
        before = children_seconds()
        result = subprocess.run([self.program, path, self.path(".safetensors")], capture_output=True, text=True, timeout=60)
        seconds, peak, message = children_seconds() - before, peak_bytes(result), result.stderr
        good = (result.returncode == 3 and message.count("\n") == 1 and all(part in message for part in (str(path), *parts))
                and seconds < SECONDS and peak < PEAK_BYTES + path.stat().st_size)
        self.checks.check(f"refuses {name}", good, f"{result.returncode}, {seconds:.2f} s, {peak >> 20} MiB: "
                          f"{message.strip().replace(str(path), 'FILE')}")


def children_seconds():
    """Of CPU: other programs of a busy machine must not count."""
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def peak_bytes(result):
    """The largest resident size, mapped pages of the file among it, as pth_dump prints it."""
    return int(result.stdout.split()[-1]) * 1024


def bits(tensor):
    return tensor.clone(memory_format=torch.contiguous_format).view(-1).view(torch.uint8).numpy().tobytes()


def state(seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 8, 4), nn.BatchNorm2d(8), nn.Linear(8, 5), nn.MultiheadAttention(8, 2))
    model[1].num_batches_tracked.fill_(7)
    return model.state_dict()


def bare(state_dict):
    """Without the attributes of a state dict."""
    return collections.OrderedDict((name, tensor.clone()) for name, tensor in state_dict.items())


# ---- what torch.save writes


def dtypes(run):
    torch.manual_seed(1)
    for dtype in DTYPES:
        values = (torch.randn(3, 5, 7) * 40).to(dtype)
        run.both(f"{dtype}", {"a": values, "scalar": values[0, 0, 0].clone(), "empty": torch.empty(2, 0, 3, dtype=dtype)},
                 {"a": values, "scalar": values[0, 0, 0], "empty": torch.empty(2, 0, 3, dtype=dtype)})
    # NaNs with a payload, infinities and -0 pass through untouched.
    odd = torch.tensor([0x7FC00001, 0x7F800000, -1, -(2**31), 1], dtype=torch.int32).view(torch.float32)
    run.both("bits of NaN, infinity and -0", {"odd": odd}, {"odd": odd})


def views(run):
    torch.manual_seed(2)
    base = torch.randn(6, 8, 10)
    tensors = {
        "whole": base,
        "offset": base[2],
        "transposed": base.permute(2, 0, 1),
        "steps": base[::2, 1::3, ::4],
        "one column": base[:, 3:4, 5],
        "expanded": base[:1, :1, :1].expand(4, 5, 6),
        "ones": base[1:2, 2:3, 3:4],
        "last element": base[5, 7, 9],
        "unfolded": base.view(-1).unfold(0, 20, 7),
        "tied": base,
    }
    run.both("views of one storage", tensors, tensors)
    for dtype in (torch.float16, torch.int16, torch.float64, torch.uint8):
        typed = {name: tensor for name, tensor in {"t": (base * 9).to(dtype)}.items()}
        typed["transposed"] = typed["t"].mT
        run.both(f"views of {dtype}", typed, typed)
    weight = nn.Linear(4, 3).weight
    run.both("tied parameters", {"a": weight, "b": weight}, {"a": weight, "b": weight})


def random_views(run):
    generator = torch.Generator().manual_seed(3)

    def below(limit):
        return int(torch.randint(0, limit, (), generator=generator))

    for case in range(20):
        tensors = {}
        for index in range(1 + below(12)):
            rank = below(6)
            shape, stride = [1 + below(5) for _ in range(rank)], [below(9) for _ in range(rank)]
            offset = below(7)
            size = 1 + offset + sum((d - 1) * s for d, s in zip(shape, stride)) + below(4)
            storage = torch.randn(size, generator=generator).to(DTYPES[below(len(DTYPES))])
            tensors[f"t{index}.weight"] = storage.as_strided(shape, stride, offset)
        run.both(f"random strides {case}", tensors, tensors)


def checkpoints(run):
    sd, model = state(), nn.Linear(3, 4)
    optimizer = torch.optim.AdamW(model.parameters())
    with torch.enable_grad():
        model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    everything = {
        "epoch": 3, "lr": 1e-3, "big": 2**40, "negative": -5, "huge": 2**90, "name": "vit", "unicode": "größe", "none": None,
        "flag": True, "tuple": (1, 2, 3, 4), "list": [0.5] * 3000, "nested": {"a": [{"b": (None, {})}]}, "dtype": torch.float16,
        "device": torch.device("cpu"), "size": torch.Size((2, 3)), "classes": {1, 2}, "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(), 7: "seven", (1, 2): "pair",
    }
    run.both("a state dict", sd, sd)
    run.both("a plain dict", dict(sd), sd)
    run.both("a dict of parameters", dict(model.named_parameters()), dict(model.named_parameters()))
    for key in ("state_dict", "model", "model_state_dict", "module", "net"):
        run.both(f"nested as {key}", {"epoch": 1, key: sd}, sd)
        if key != "net":
            run.both(f"nested as {key}, among all that a training writes", everything | {key: sd}, sd)
    run.both("nested twice", {"model": {"state_dict": sd}, "epoch": 1}, sd)
    run.both("state_dict before model", {"model": state(4), "state_dict": sd}, sd)
    run.both("a model that is a name", {"model": "vit", "state_dict": sd}, sd)
    run.both("DataParallel", {f"module.{name}": tensor for name, tensor in sd.items()}, sd)
    run.both("torch.compile", {f"_orig_mod.{name}": tensor for name, tensor in sd.items()}, sd)
    run.both("torch.compile in DataParallel", {f"module._orig_mod.{name}": tensor for name, tensor in sd.items()}, sd)
    run.both("module. on some names only", some := {"module.a": sd["2.weight"], "b": sd["2.bias"]}, some)
    run.both("the only dict with tensors", {"a": sd, "ema": None}, sd)
    names = {"größe.重み": sd["2.bias"], "x" * 1024: sd["2.weight"]}
    run.both("names in UTF-8", names, names)
    run.both("3000 tensors", wide := {f"layer.{i}.weight": torch.full((2,), float(i)) for i in range(3000)}, wide)
    path = run.path(".pth")
    with torch.serialization.skip_data():
        torch.save({"a": torch.ones(5000)}, path)
    run.equal("zeros in place of data", path, {"a": torch.zeros(5000)})
    torch.serialization.set_crc32_options(False)
    run.equal("a file without CRCs", run.save(sd), sd)
    torch.serialization.set_crc32_options(True)
    path = run.path(".pth")
    torch.save(bare(sd), path, pickle_protocol=3)
    run.equal("pickle protocol 3", path, sd)
    torch.save(bare(sd), path, pickle_protocol=4)
    run.refused("pickle protocol 4", path, "opcode")
    save_file(sd, path)
    run.equal("safetensors by the name of .pth", path, sd)


# ---- zip archives by other hands


def repack(run, path, change=lambda name, data: (name, data), **options):
    out = run.path(".pth")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, "w", **options) as target:
        for info in source.infolist():
            renamed = change(info.filename, source.read(info))
            for name, data in [renamed] if isinstance(renamed, tuple) else renamed:
                target.writestr(name, data)
    return out


def zip_archives(run):
    sd = state(5)
    path = run.save(sd)
    run.equal("another folder name", repack(run, path, lambda n, d: (f"model_best/{n.partition('/')[2]}", d)), sd)
    run.equal("without byteorder and version", repack(
        run, path, lambda n, d: [] if n.endswith(("byteorder", "version")) else (n, d)), sd)
    out = run.path(".pth")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, "w") as target:
        for info in source.infolist():
            with target.open(info.filename, "w", force_zip64=True) as entry:
                entry.write(source.read(info))
    run.equal("zip64 headers", out, sd)
    out = run.path(".pth")
    out.write_bytes(path.read_bytes())
    with zipfile.ZipFile(out, "a") as target:
        target.comment = b"a comment"
    run.equal("a comment", out, sd)

    run.refused("compressed entries", repack(run, path, compression=zipfile.ZIP_DEFLATED), "compressed")
    bomb = run.path(".pth")
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("archive/data.pkl", pickle.dumps({}, 2))
        target.writestr("archive/data/0", bytes(200 << 20))
    run.refused("a zip bomb", bomb, "compressed")
    run.refused("big-endian data", repack(run, path, lambda n, d: (n, b"big" if n.endswith("byteorder") else d)), "byteorder")
    run.refused("an archive without a pickle", repack(run, path, lambda n, d: (n.replace("data.pkl", "other.pkl"), d)),
                "data.pkl")
    run.refused("two pickles", repack(run, path, lambda n, d: [(n, d), ("b/data.pkl", d)] if n.endswith(".pkl") else (n, d)),
                "two pickles")
    run.refused("a missing storage", repack(run, path, lambda n, d: [] if n.endswith("data/3") else (n, d)), "data/3")
    run.refused("a short storage", repack(run, path, lambda n, d: (n, d[:-1] if n.endswith("data/3") else d)), '"3"')
    run.refused("a long storage", repack(run, path, lambda n, d: (n, d + b"x" if n.endswith("data/3") else d)), '"3"')
    run.refused("text after the pickle", repack(run, path, lambda n, d: (n, d + b"x" if n.endswith(".pkl") else d)), "data.pkl")
    data = path.read_bytes()
    for size in (0, 3, 4, 100, len(data) // 2, len(data) - 22, len(data) - 1):
        cut = run.path(".pth")
        cut.write_bytes(data[:size])
        run.refused(f"{size} bytes of a zip", cut)
    legacy = run.save(sd, "legacy").read_bytes()
    for size in (1, 14, 15, 30, 200, len(legacy) // 2, len(legacy) - 1):
        cut = run.path(".pth")
        cut.write_bytes(legacy[:size])
        run.refused(f"{size} bytes of the legacy form", cut)
    cut.write_bytes(legacy + b"x")
    run.refused("a byte after the legacy form", cut, "after the last storage")


# ---- what must not be read


class Command:
    def __reduce__(self):
        return os.system, ("touch vitc-was-here",)


def globals_refused(run):
    sd = state(6)
    for form in FORMS:
        run.refused(f"os.system, {form}", run.save({"model": sd, "x": Command()}, form), "posix.system")
        run.refused(f"argparse.Namespace, {form}", run.save({"model": sd, "args": argparse.Namespace(lr=1)}, form),
                    "argparse.Namespace")
        run.refused(f"a module, {form}", run.save(nn.Linear(2, 3), form), "torch.nn.modules.linear.Linear")
    run.checks.check("nothing ran", not pathlib.Path("vitc-was-here").exists())
    run.refused("a NumPy array", run.save({"model": sd, "best": torch.ones(3).numpy()}), "numpy")
    run.refused("complex numbers", run.save({"a": torch.ones(2, dtype=torch.complex64)}), "complex64", '"a"')
    run.refused("uint16", run.save({"a": torch.ones(2, dtype=torch.uint16)}), "uint16", '"a"')
    run.refused("float8", run.save({"a": torch.ones(2).to(torch.float8_e4m3fn)}), "float8", '"a"')
    run.refused("quantized tensors", run.save({"a": torch.quantize_per_tensor(torch.ones(2), 1.0, 0, torch.quint8)}), "torch.")
    run.refused("sparse tensors", run.save({"a": torch.eye(3).to_sparse()}), "torch._utils._rebuild_sparse_tensor")
    run.refused("no tensors", run.save({"epoch": 3}), "no dict of tensors")
    run.refused("a list of tensors", run.save([torch.ones(2)]), "no dict of tensors")
    run.refused("two state dicts", run.save({"student": sd, "teacher": sd}), '"student"', '"teacher"')
    run.refused("nine dimensions", run.save({"a": torch.ones(1, 1, 1, 1, 1, 1, 1, 1, 2)}), "dimensions", '"a"')
    run.refused("a name of 1025 bytes", run.save({"x" * 1025: torch.ones(1)}), "1025")
    run.refused("an empty name", run.save({"": torch.ones(1)}), "name")
    run.refused("a name with NUL", run.save({"a\0b": torch.ones(1)}), "UTF-8")
    run.refused("a name with a surrogate", run.save({"a\ud800": torch.ones(1)}), "UTF-8")
    run.refused("a huge expanded tensor", run.save({"a": torch.ones(1).expand(1 << 40)}), "memory", '"a"')
    run.refused("many expanded tensors", run.save({f"t{i}": torch.ones(1).expand(1 << 21) for i in range(9)}), "memory")


def archive(run, pickled, entries=(("0", bytes(8)),)):
    path = run.path(".pth")
    with zipfile.ZipFile(path, "w") as target:
        target.writestr("archive/data.pkl", pickled)
        for key, data in entries:
            target.writestr(f"archive/data/{key}", data)
    return path


def rebuilt(offset=b"K\0", sizes=b"K\2\x85", strides=b"K\1\x85", count=b"K\2"):
    """A pickled {"a": tensor}."""
    return (b"\x80\2}X\1\0\0\0actorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
            b"0X\3\0\0\0cpu" + count + b"tQ" + offset + sizes + strides + b"\x89}tRs.")


def lies(run):
    def long(value):
        return b"\x8a\x08" + struct.pack("<q", value)

    run.equal("a pickle made by hand", archive(run, rebuilt()), {"a": torch.zeros(2)})
    for name, arguments in {
        "an offset past the storage": dict(offset=b"K\1"),
        "an offset of 2^62": dict(offset=long(2**62)),
        "a negative offset": dict(offset=b"J\xff\xff\xff\xff"),
        "a size past the storage": dict(sizes=b"K\3\x85"),
        "a size of 2^62": dict(sizes=long(2**62) + b"\x85"),
        "a negative size": dict(sizes=b"J\xff\xff\xff\xff\x85"),
        "a stride past the storage": dict(strides=b"K\2\x85"),
        "a stride that overflows": dict(sizes=b"K\5\x85", strides=long(2**62) + b"\x85"),
        "a negative stride": dict(offset=b"K\1", strides=b"J\xff\xff\xff\xff\x85"),
        "sizes that overflow": dict(sizes=long(2**40) + long(2**40) + b"\x86", strides=b"K\0K\0\x86"),
        "sizes that overflow and a zero": dict(sizes=long(2**62) + long(2**62) + b"K\0\x87", strides=b"K\0K\0K\0\x87"),
        "more sizes than strides": dict(sizes=b"K\1K\2\x86"),
        "sizes that are no numbers": dict(sizes=b"X\1\0\0\0a\x85"),
    }.items():
        run.refused(name, archive(run, rebuilt(**arguments)), '"a"')
    for name, count in {"a storage of 3 elements": b"K\3", "a storage of 2^62": long(2**62), "of -1": long(-1),
                        "of a float": b"G" + bytes(8)}.items():
        run.refused(f"lies: {name}", archive(run, rebuilt(count=count)), "storage")


def bombs(run):
    laughs = b"]q\0" + b"".join(b"](" + (b"h" + bytes([i])) * 10 + b"eq" + bytes([i + 1]) for i in range(200))
    cases = {
        "lists of lists of lists": b"\x80\2(" + laughs + b"t.",
        "20 million marks": b"\x80\2" + b"(" * 20_000_000 + b".",
        "20 million empty lists": b"\x80\2(" + b"]" * 20_000_000 + b"e.",
        "a nesting of 300000 lists": b"\x80\2" + b"]" * 300_000 + b"a" * 299_999 + b".",
        "a nesting of 10 million tuples": b"\x80\2N" + b"\x85" * 10_000_000 + b".",
        "a memo of 2^32": b"\x80\2]r\xff\xff\xff\xff.",
        "a memo that nothing is in": b"\x80\2h\1.",
        "memos without end": b"\x80\2]" + b"".join(b"r" + struct.pack("<I", i) for i in range(2_000_000)) + b".",
        "a string of 4 GiB": b"\x80\2X\xff\xff\xff\xffa.",
        "a number of 255 bytes": b"\x80\2\x8a\xffa.",
        "40 MiB of pickle": b"\x80\2" * (20 << 20) + b"N.",
        "a list appended to itself": b"\x80\2]q\0h\0ah\0ah\0a.",
        "a dict that holds itself": b"\x80\2}q\0X\5\0\0\0modelh\0s.",
        "an unpaired key": b"\x80\2}(K\1u.",
        "no stop": b"\x80\2N",
        "nothing on the stack": b"\x80\2.",
        "too much on the stack": b"\x80\2NN.",
        "nothing": b"",
        "protocol 9": b"\x80\x09N.",
        "a global without an end": b"\x80\2cos",
        "a global of a megabyte": b"\x80\2c" + b"a" * (1 << 20) + b"\nb\n.",
        "an instance (INST)": b"(ios\nsystem\n.",
        "a global of the stack (STACK_GLOBAL)": b"\x80\4\x8c\2os\x8c\6system\x93.",
        "a call of a string": b"\x80\2X\1\0\0\0a)R.",
        "a call of a dtype": b"\x80\2ctorch\nfloat32\n)R.",
        "a persistent id of a string": b"\x80\2X\1\0\0\0aQ.",
        "attributes of a list": b"\x80\2]}b.",
    }
    tensor = rebuilt()[9:-2]
    cases["one long name for a million tensors"] = (
        b"\x80\2}(" + b"X" + struct.pack("<I", 1000) + b"n" * 1000 + b"q\0" + tensor + b"q\1" + b"h\0h\1" * 400_000 + b"u.")
    for name, pickled in cases.items():
        run.refused(name, archive(run, pickled))


def directories(run):
    """A zip's directory that lies about its entries."""
    good = archive(run, rebuilt(), (("0", bytes(8)), ("1", bytes(64)))).read_bytes()
    names = (b"archive/data.pkl", b"archive/data/0", b"archive/data/1")
    records = [good.rindex(name) - 46 for name in names]
    locals_ = [good.index(name) - 30 for name in names]
    end = len(good) - 22

    def broken(name, *changes):
        data = bytearray(good)
        for at, layout, value in changes:
            struct.pack_into(layout, data, at, value)
        path = run.path(".pth")
        path.write_bytes(data)
        run.refused(f"a directory with {name}", path, "zip")

    def sized(entry, size):
        return [(at + offset, "<I", size) for at, offsets in ((records[entry], (20, 24)), (locals_[entry], (18, 22)))
                for offset in offsets]

    broken("a size past the file", *sized(2, 10000))
    broken("a size of 4 GiB", *sized(2, 0xFFFFFFFE))
    broken("a zip64 size without one", *sized(2, 0xFFFFFFFF))
    broken("entries that overlap", *sized(1, 80))
    broken("two entries in one place", (records[2] + 42, "<I", locals_[1]))
    broken("one entry twice", (records[2] + 46 + 13, "B", ord("0")), (locals_[2] + 30 + 13, "B", ord("0")))
    broken("an offset into another", (records[2] + 42, "<I", locals_[2] + 1))
    broken("an offset past the file", (records[2] + 42, "<I", 1 << 30))
    broken("two sizes", (records[2] + 20, "<I", 63))
    broken("other sizes than the header", (records[2] + 20, "<I", 63), (records[2] + 24, "<I", 63))
    broken("another name than the header", (records[2] + 46, "B", ord("b")))
    broken("an encrypted entry", (records[2] + 8, "<H", 1))
    broken("a name of 60000 bytes", (records[2] + 28, "<H", 60000))
    broken("no name", (records[2] + 28, "<H", 0))
    broken("65535 entries", (end + 8, "<H", 65535), (end + 10, "<H", 65535))
    broken("one entry less", (end + 8, "<H", 2), (end + 10, "<H", 2))
    broken("one entry more", (end + 8, "<H", 4), (end + 10, "<H", 4))
    broken("another part", (end + 4, "<H", 1))
    broken("a begin past the file", (end + 16, "<I", 0xFFFFFFF0))
    broken("another size of its own", (end + 12, "<I", 46))
    broken("a comment that is not there", (end + 20, "<H", 5))


# ---- past 4 GiB


def large(run):
    """A storage of 4 GiB and 4 KiB, which takes no space on disk: zip64 sizes and offsets."""
    path = run.path(".pth")
    with torch.serialization.skip_data():
        torch.save({"model": {"a": torch.ones(3)}, "big": torch.empty((1 << 30) + 1024), "more": torch.ones(2)}, path)
    run.equal("a storage past 4 GiB", path, {"a": torch.zeros(3)})


def read_parts(description, parts):
    """The command line of a test of checkpoints: runs its parts, functions of a Reader."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.environ.get("VITC_BUILD", str(ROOT / "build")))
    parser.add_argument("--vitc", default=support.VITC)
    options = parser.parse_args()
    support.VITC = options.vitc
    checks = Checks()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        run = Reader(pathlib.Path(options.build).resolve(), folder, checks)
        for part in parts:
            checks.run(part.__name__, part, run)
    checks.finish()


if __name__ == "__main__":
    read_parts(__doc__, (dtypes, views, random_views, checkpoints, zip_archives, globals_refused, lies, bombs, directories, large))
