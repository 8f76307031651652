"""ONNX models of PyTorch's two exporters, and single ops, against PyTorch and ONNX's reference evaluator.

    onnx_import.py [--vitc PATH] [--compiled] [--only PART]

Small models with seeded weights are exported with a static and with a dynamic batch, at several opsets, imported, run by the
interpreter at batches 1 and 3 (with --compiled by the compiled object, too), and compared with the PyTorch model's output. Then
what the compiler makes of them is compared with what it makes of the same weights imported without ONNX."""

import contextlib
import io
import logging
import re

from support import vitc
from make_vits import SMALL, Importer, pixels, reseed, run_parts, transformers_config

import numpy as np
import onnx
import timm
import torch
import transformers
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn

logging.disable(logging.WARNING)
torch.backends.mha.set_fastpath_enabled(False)  # an op of PyTorch's own, which ONNX does not have


class Answer(nn.Module):
    """A transformers model as a function from pixels to one tensor."""

    def __init__(self, model, field):
        super().__init__()
        self.model, self.field = model, field

    def forward(self, x):
        return getattr(self.model(pixel_values=x), self.field)


def transformers_model(model_class, config_class, field, seed, attention="sdpa", **args):
    config = transformers_config(config_class, attn_implementation=attention, **args)
    return Answer(reseed(model_class(config), seed), field).eval()


def models():
    t = transformers
    return {
        "timm ViT": reseed(timm.create_model("vit_tiny_patch16_224", **SMALL), 1),
        "timm DeiT distilled": reseed(timm.create_model("deit_tiny_distilled_patch16_224", **SMALL), 2),
        "transformers ViT": transformers_model(t.ViTForImageClassification, t.ViTConfig, "logits", 3, num_labels=5),
        "transformers DINOv2": transformers_model(t.Dinov2Model, t.Dinov2Config, "pooler_output", 4, mlp_ratio=2),
        "transformers CLIP": transformers_model(t.CLIPVisionModelWithProjection, t.CLIPVisionConfig, "image_embeds", 5,
                                                projection_dim=24),
    }


def export(run, model, x, dynamo, opset, dynamic):
    path = run.path(".onnx")
    x = x if dynamic else x[:1]
    options = dict(opset_version=opset, input_names=["x"], output_names=["y"], dynamo=dynamo)
    if dynamic:
        options |= dict(dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)) if dynamo else dict(dynamic_axes={"x": {0: "batch"}})
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        torch.onnx.export(model, (x,), path, **options)
    return path


def compare(run, name, source, x, want, target="native"):
    """Interpreter and, with --compiled, object, at batches 1 and 3. Returns the imported graph."""
    graph = run.import_model(source)
    programs = [graph]
    if run.compiled:
        programs.append(graph.with_suffix(".o"))
        vitc("compile", graph, "-o", programs[1], "--batch", len(x), "--target", target)
    for program in programs:
        for batch in (1, len(x)):
            got = run.output(program, torch.as_tensor(np.asarray(x[:batch])))
            run.checks.close(f"{name}, batch {batch}, {program.suffix}", got, np.asarray(want[:batch]))
    return graph


EXPORTS = ((False, 14, False), (False, 17, True), (True, 18, False), (True, 23, True))


def exporters(run):
    x = pixels(32, 32)
    for name, model in models().items():
        want = model(x)
        for dynamo, opset, dynamic in EXPORTS:
            label = f"{name}, {'dynamo' if dynamo else 'TorchScript'} opset {opset}, {'dynamic' if dynamic else 'static'} batch"
            run.checks.run(label, lambda: compare(run, label, export(run, model, x, dynamo, opset, dynamic), x, want))


def other_forms(run):
    """The oldest opset with decomposed attention, Gelu as one node, tanh, rectangles, mean pooling, half precision."""
    x, t = pixels(32, 32), transformers
    eager = transformers_model(t.ViTForImageClassification, t.ViTConfig, "logits", 11, attention="eager", num_labels=5)
    tanh = transformers_model(t.ViTForImageClassification, t.ViTConfig, "logits", 12, num_labels=5, hidden_act="gelu_new")
    mean = reseed(timm.create_model("vit_tiny_patch16_224", **SMALL | dict(global_pool="avg", init_values=0.1)), 13)
    wide = reseed(timm.create_model("vit_tiny_patch16_224", **SMALL | dict(img_size=(24, 40))), 14)
    plain = reseed(timm.create_model("vit_tiny_patch16_224", **SMALL), 15)
    for block in plain.blocks:
        block.attn.fused_attn = False
    for name, model, pictures, dynamo, opset in (
            ("opset 13, eager attention", eager, x, False, 13), ("opset 13, timm's own attention", plain, x, False, 13),
            ("opset 20", eager, x, False, 20), ("opset 21, dynamo", plain, x, True, 21), ("tanh GELU", tanh, x, False, 16),
            ("tanh GELU, dynamo", tanh, x, True, 18), ("mean pooling and layer scale", mean, x, False, 15),
            ("mean pooling and layer scale, dynamo", mean, x, True, 19), ("24x40", wide, pixels(24, 40), True, 18)):
        want = model(pictures)
        run.checks.run(name, lambda: compare(run, name, export(run, model, pictures, dynamo, opset, True), pictures, want))
    # Swin counts its windows where other models have the images of the batch
    swin = reseed(timm.create_model("swin_tiny_patch4_window7_224", embed_dim=24, depths=(2, 2), num_heads=(2, 4), img_size=56,
                                    num_classes=7), 17)
    windows = pixels(56, 56)
    for dynamic in (True, False):
        name = f"Swin, {'dynamic' if dynamic else 'static'} batch"
        run.checks.run(name, lambda: compare(run, name, export(run, swin, windows, False, 17, dynamic), windows, swin(windows)))
    half = reseed(timm.create_model("vit_tiny_patch16_224", **SMALL), 16).half()
    source = export(run, half, x.half(), False, 17, True)
    compare(run, "float16", source, x, half.float()(x))


def steps(graph):
    return int(re.search(r"(\d+) steps", vitc("inspect", graph)).group(1))


def fusion(run):
    """As many steps as without ONNX, whichever exporter wrote the model."""
    x = pixels(32, 32)
    for arch in ("vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"):
        model = reseed(timm.create_model(arch, **SMALL), 21)
        want = steps(run.import_model(run.timm_folder(model)))
        for dynamo, opset, dynamic in EXPORTS:
            got = steps(run.import_model(export(run, model, x, dynamo, opset, dynamic)))
            run.checks.check(f"fusion, {arch}, {'dynamo' if dynamo else 'TorchScript'} opset {opset}", got == want,
                             f"{got} steps, wanted {want}")
    model = reseed(transformers.ViTForImageClassification(transformers_config(transformers.ViTConfig, num_labels=5)), 22)
    want = steps(run.import_model(run.transformers_folder(model)))
    for dynamo, opset, dynamic in EXPORTS:
        got = steps(run.import_model(export(run, Answer(model, "logits").eval(), x, dynamo, opset, dynamic)))
        run.checks.check(f"fusion, transformers ViT, {'dynamo' if dynamo else 'TorchScript'} opset {opset}", got == want,
                         f"{got} steps, wanted {want}")


class Attention(nn.Module):
    """Attention of 4 heads, between two projections, as programs write it."""

    def __init__(self, form):
        super().__init__()
        self.form, self.qkv, self.proj = form, nn.Linear(32, 96), nn.Linear(32, 32)
        self.bias = nn.Parameter(torch.randn(1, 4, 9, 9))
        self.table = nn.Parameter(torch.randn(25, 4))
        self.register_buffer("index", torch.randint(0, 25, (9, 9)))

    def scores(self, q, k):
        form, scores = self.form, q @ k.transpose(-2, -1)
        if form == "mask after the scale":
            return scores * 0.3 + self.bias
        if form == "mask before the scale":
            return (scores + self.bias) / 3
        if form == "relative positions":
            return (q * 8**-0.5) @ k.transpose(-2, -1) + self.table[self.index.view(-1)].view(9, 9, 4).permute(2, 0, 1).unsqueeze(0)
        if form == "computed mask":
            return scores * 0.3 + q @ self.bias[0, :, :8]
        return scores * 0.3 + self.bias + self.bias[:, :1] * 0.5

    def forward(self, x):
        images, tokens, width = x.shape
        if self.form == "heads outside":
            q, k, v = self.qkv(x).reshape(images, tokens, 4, 24).transpose(1, 2).chunk(3, -1)
        else:
            q, k, v = self.qkv(x).reshape(images, tokens, 3, 4, 8).permute(2, 0, 3, 1, 4).unbind(0)
        attend = nn.functional.scaled_dot_product_attention
        if self.form in ("plain", "heads outside"):
            y = attend(q, k, v)
        elif self.form == "sdpa with a mask":
            y = attend(q, k, v, attn_mask=self.bias)
        elif self.form == "causal":
            y = attend(q, k, v, is_causal=True)
        else:
            y = self.scores(q, k).softmax(-1) @ v
        return self.proj(y.transpose(1, 2).reshape(images, tokens, width))


class Multihead(nn.Module):
    """nn.MultiheadAttention, which works on (T, N, C) and on (N * heads, T, d)."""

    def __init__(self, batch_first, weights, mask):
        super().__init__()
        self.attention = nn.MultiheadAttention(32, 4, batch_first=batch_first)
        self.batch_first, self.weights, self.proj = batch_first, weights, nn.Linear(32, 32)
        self.mask = nn.Parameter(torch.randn(9, 9)) if mask else None

    def forward(self, x):
        x = x if self.batch_first else x.transpose(0, 1)
        x = self.proj(x + self.attention(x, x, x, need_weights=self.weights, attn_mask=self.mask)[0])
        return x if self.batch_first else x.transpose(0, 1)


class Probe(nn.Module):
    """One query, the same for all images."""

    def __init__(self):
        super().__init__()
        self.probe, self.attention = nn.Parameter(torch.randn(1, 1, 32)), nn.MultiheadAttention(32, 4, batch_first=True)

    def forward(self, x):
        return self.attention(self.probe.repeat(x.shape[0], 1, 1), x, x)[0][:, 0]


class Windows(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.bias = nn.Linear(32, 96), nn.Parameter(torch.randn(1, 4, 4, 4))

    def forward(self, x):
        x = x.reshape(-1, 2, 2, 2, 2, 32).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, 32)
        q, k, v = self.qkv(x).reshape(-1, 4, 3, 4, 8).permute(2, 0, 3, 1, 4).unbind(0)
        y = ((q * 8**-0.5) @ k.transpose(-2, -1) + self.bias).softmax(-1) @ v
        return y.transpose(1, 2).reshape(-1, 2, 2, 2, 2, 32).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, 4, 32)


def attentions(run):
    """Every form becomes one Attention, and no Softmax is left."""
    forms = ("plain", "heads outside", "sdpa with a mask", "causal", "mask after the scale", "mask before the scale",
             "relative positions", "computed mask", "two masks")
    cases = [(form, Attention(form), (9, 32)) for form in forms]
    cases += [(f"MultiheadAttention, batch first {first}, weights {weights}, mask {mask}", Multihead(first, weights, mask), (9, 32))
              for first in (False, True) for weights in (False, True) for mask in (False, True)]
    cases += [("one query for all images", Probe(), (9, 32)), ("windows", Windows(), (4, 4, 32))]
    for i, (name, model, shape) in enumerate(cases):
        model, x = reseed(model, 30 + i), torch.as_tensor(numbers(3, *shape, seed=i))
        want = model(x)
        for dynamo, opset, dynamic in EXPORTS[i % 2::2]:
            if dynamo and "weights False, mask True" in name:
                continue  # PyTorch 2.13 does not export it
            label = f"{name}, {'dynamo' if dynamo else 'TorchScript'} opset {opset}, {'dynamic' if dynamic else 'static'} batch"
            run.checks.run(label, lambda: fused_attention(run, label, export(run, model, x, dynamo, opset, dynamic), x, want))


def fused_attention(run, name, source, x, want):
    text = vitc("compile", compare(run, name, source, x, want), "--dump-after", "fuse_attention")
    found = text.count("Attention("), text.count("Softmax(")
    run.checks.check(f"{name}, fused", found == (1, 0), f"{found[0]} Attention, {found[1]} Softmax, wanted 1 and 0")


# ---- single ops


def numbers(*shape, seed=0, positive=False):
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return np.abs(values) + np.float32(0.5) if positive else values


def op_model(run, nodes, constants, shape, opset=18):
    graph = helper.make_graph(
        nodes, "op", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    path = run.path(".onnx")
    onnx.save(model, path)
    return path


def op_case(run, name, nodes, constants, *shape, opset=18, wanted=None):
    """`nodes` from x to y; `wanted` in the place of ONNX's reference evaluator, where that fails."""
    path = op_model(run, nodes, constants, shape, opset)
    x = numbers(3, *shape, seed=5)
    want = wanted(x) if wanted is not None else ReferenceEvaluator(str(path)).run(None, {"x": x})[0]
    run.checks.run(name, compare, run, name, path, x, want, "x86-64")


def transposed_convolutions(run):
    normalization = {key: numbers(4, seed=i, positive=i == 3) for i, key in enumerate(("gamma", "beta", "mean", "variance"))}
    for kernel, stride, pads, more in ((4, 2, 1, 0), (2, 2, 0, 0), (3, 2, 1, 1), (3, 1, 1, 0), (5, 3, 1, 0), (4, 4, 0, 0)):
        name = f"ConvTranspose {kernel}, stride {stride}, padding {pads}, output padding {more}"
        constants = {"w": numbers(6, 4, kernel, kernel, seed=1), "b": numbers(4, seed=2)}
        node = helper.make_node("ConvTranspose", ["x", "w", "b"], ["y"], strides=[stride] * 2, pads=[pads] * 4,
                                output_padding=[more] * 2, kernel_shape=[kernel] * 2)
        op_case(run, name, [node], constants, 6, 5, 7)
        node.output[0] = "z"
        after = helper.make_node("BatchNormalization", ["z", *normalization], ["y"], epsilon=1e-3)
        op_case(run, f"{name}, BatchNormalization", [node, after], constants | normalization, 6, 5, 7)
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 1], pads=[1, 0, 0, 1])
    grouped = helper.make_node("ConvTranspose", ["x", "w", "b"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1], group=3)
    constants = {"w": numbers(6, 2, 4, 4, seed=3), "b": numbers(6, seed=4)}
    weights, bias = torch.from_numpy(constants["w"]), torch.from_numpy(constants["b"])
    op_case(run, "ConvTranspose of 3 groups", [grouped], constants, 6, 5, 7, wanted=lambda x: nn.functional.conv_transpose2d(
        torch.from_numpy(x), weights, bias, stride=2, padding=1, groups=3).numpy())
    op_case(run, "ConvTranspose of a rectangle", [node], {"w": numbers(3, 2, 4, 2)}, 3, 4, 6)


def normalizations(run):
    constants = {key: numbers(4, seed=i, positive=i == 3) for i, key in enumerate(("gamma", "beta", "mean", "variance"))}
    op_case(run, "BatchNormalization", [helper.make_node("BatchNormalization", ["x", *constants], ["y"])], constants, 4, 5, 3)
    filters = {"w": numbers(4, 3, 3, 3), "b": numbers(4)}
    for inputs in (["x", "w"], ["x", "w", "b"]):
        nodes = [helper.make_node("Conv", inputs, ["z"], pads=[1, 1, 1, 1]),
                 helper.make_node("BatchNormalization", ["z", *constants], ["y"])]
        op_case(run, f"Conv of {len(inputs)} inputs, BatchNormalization", nodes, filters | constants, 3, 6, 5)
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["z"], pads=[1, 1, 1, 1]),
             helper.make_node("BatchNormalization", ["z", *constants], ["v"]), helper.make_node("Add", ["z", "v"], ["y"])]
    op_case(run, "BatchNormalization of what is used twice", nodes, filters | constants, 3, 6, 5)
    gain = {"g": numbers(3, seed=2), "table": numbers(5, 3, seed=3)}
    op_case(run, "RMSNormalization", [helper.make_node("RMSNormalization", ["x", "g"], ["y"], epsilon=1e-3)], gain, 4, 5, 3, opset=23)
    op_case(run, "RMSNormalization over two axes", [helper.make_node("RMSNormalization", ["x", "table"], ["y"], axis=2)], gain,
            4, 5, 3, opset=23)
    seen = {"mask": np.tri(5, dtype=bool)[None, None], "all": np.ones((5, 5), bool)}
    for mask in seen:
        node = helper.make_node("Attention", ["x", "x", "x", mask], ["y"], qk_matmul_output_mode=0, softmax_precision=1)
        op_case(run, f"Attention with truths, {mask}", [node], seen, 2, 5, 8, opset=23)
    op_case(run, "GlobalAveragePool", [helper.make_node("GlobalAveragePool", ["x"], ["y"])], {}, 4, 5, 3)


def resizes(run):
    sizes = {"roi": np.zeros(0, np.float32), "scales": np.zeros(0, np.float32), "sizes": np.array([1, 2, 9, 5], np.int64)}
    for mode in ("linear", "cubic", "nearest"):
        for coordinates in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"):
            node = helper.make_node("Resize", ["x", "", "scales"], ["y"], mode=mode, coordinate_transformation_mode=coordinates,
                                    nearest_mode="floor" if coordinates == "asymmetric" else "round_prefer_floor")
            scales = {"scales": np.array([1, 1, 2, 1.5], np.float32)}
            op_case(run, f"Resize {mode}, {coordinates}", [node], scales, 2, 5, 6)
            node.input[:] = ["table", "roi", "scales", "sizes"]
            node.output[0] = "t"
            nodes = [node, helper.make_node("Add", ["x", "t"], ["y"])]
            op_case(run, f"Resize {mode}, {coordinates} of a constant", nodes, sizes | {"table": numbers(1, 2, 4, 7)}, 2, 9, 5)


def filtered_resizes(run):
    for mode in ("linear", "cubic"):
        for scales in ((1, 1, 0.5, 0.4), (1, 1, 0.35, 2)):
            for outside in (0, 1):
                node = helper.make_node("Resize", ["x", "", "scales"], ["y"], mode=mode, antialias=1, exclude_outside=outside)
                op_case(run, f"Resize {mode} {scales}, antialias, excluding {outside}", [node],
                        {"scales": np.array(scales, np.float32)}, 2, 11, 13)


def paddings(run):
    pads = {"pads": np.array([0, 0, 1, 2, 0, 0, 0, 1], np.int64), "filler": np.array(-0.5, np.float32)}
    for inputs in (["x", "pads"], ["x", "pads", "filler"]):
        op_case(run, f"Pad of {len(inputs)} inputs", [helper.make_node("Pad", inputs, ["y"])], pads, 2, 3, 4)
    axes = {"pads": np.array([1, 2], np.int64), "axes": np.array([-1], np.int64)}
    op_case(run, "Pad along axes", [helper.make_node("Pad", ["x", "pads", "", "axes"], ["y"], mode="constant")], axes, 3, 4)


def activations(run):
    node = helper.make_node
    one = {"low": np.array(-0.5, np.float32), "high": np.array(0.25, np.float32), "quick": np.array(1.702, np.float32)}
    cases = {
        "SiLU": [node("Sigmoid", ["x"], ["s"]), node("Mul", ["x", "s"], ["y"])],
        "quick GELU": [node("Mul", ["x", "quick"], ["m"]), node("Sigmoid", ["m"], ["s"]), node("Mul", ["x", "s"], ["y"])],
        "Clip": [node("Clip", ["x", "low", "high"], ["y"])],
        "Clip from above": [node("Clip", ["x", "", "high"], ["y"])],
        "HardSigmoid": [node("HardSigmoid", ["x"], ["y"], alpha=0.3)],
        "HardSwish": [node("HardSwish", ["x"], ["y"])],
        "LeakyRelu": [node("LeakyRelu", ["x"], ["y"], alpha=0.2)],
        "LeakyRelu, steep": [node("LeakyRelu", ["x"], ["y"], alpha=1.5)],
        "Elu": [node("Elu", ["x"], ["y"], alpha=0.7)],
        "Max": [node("Max", ["x", "low"], ["m"]), node("Min", ["m", "high"], ["y"])],
        "gated halves": [node("Split", ["x"], ["a", "b"], axis=-1, num_outputs=2), node("Sigmoid", ["a"], ["s"]),
                         node("Mul", ["a", "s"], ["g"]), node("Mul", ["g", "b"], ["y"])],
    }
    for name, nodes in cases.items():
        op_case(run, name, nodes, one, 5, 6)


def pools(run):
    node = helper.make_node
    for name, attributes in (("2", dict(kernel_shape=[2, 2], strides=[2, 2])), ("3x2", dict(kernel_shape=[3, 2])),
                             ("padded", dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])),
                             ("one side", dict(kernel_shape=[3, 2], strides=[2, 1], pads=[0, 1, 1, 0])),
                             ("ceil", dict(kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1))):
        op_case(run, f"MaxPool {name}", [node("MaxPool", ["x"], ["y"], **attributes)], {}, 3, 8, 6)
        for counts in (0, 1):
            op_case(run, f"AveragePool {name}, padding counts {counts}",
                    [node("AveragePool", ["x"], ["y"], count_include_pad=counts, **attributes)], {}, 3, 8, 6, opset=22)
    op_case(run, "MaxPool dilated", [node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], dilations=[2, 3])], {}, 3, 8, 6)


def axes(run):
    """The images leave axis 0 and come back."""
    def ints(*values):
        return np.array(values, np.int64)

    node = helper.make_node
    back = node("Transpose", ["z"], ["y"], perm=[1, 0, 2])
    there = node("Transpose", ["x"], ["t"], perm=[1, 0, 2])
    for name, middle, constants in (
            ("Softmax", node("Softmax", ["t"], ["z"], axis=0), {}),
            ("Slice", node("Slice", ["t", "from", "to", "along"], ["z"]), {"from": ints(1), "to": ints(3), "along": ints(0)}),
            ("Gather", node("Gather", ["t", "rows"], ["z"], axis=0), {"rows": ints(3, 0, 3)}),
            ("MatMul", node("MatMul", ["t", "w"], ["z"]), {"w": numbers(6, 5)}),
            ("Concat", node("Concat", ["t", "t"], ["z"], axis=0), {}),
            ("ReduceMean", node("ReduceMean", ["t", "along"], ["z"], keepdims=1), {"along": ints(0)}),
            ("Mul", node("Mul", ["t", "row"], ["z"]), {"row": numbers(6)}),
            ("Reshape", node("Reshape", ["t", "shape"], ["z"]), {"shape": ints(4, 0, -1)})):
        op_case(run, f"images along axis 1: {name}", [there, middle, back], constants, 4, 6)
    nodes = [node("Unsqueeze", ["x", "zero"], ["u"]), node("Transpose", ["u"], ["t"], perm=[2, 1, 0, 3]),
             node("Squeeze", ["t", "two"], ["z"]), back]
    op_case(run, "images along axis 1: Unsqueeze and Squeeze", nodes, {"zero": ints(0), "two": ints(2)}, 4, 6)
    nodes = [node("Split", ["t"], ["a", "b"], axis=0, num_outputs=2), node("Sub", ["a", "b"], ["z"])]
    op_case(run, "images along axis 1: Split", [there, *nodes, back], {}, 4, 6)


PARTS = (exporters, other_forms, fusion, attentions, transposed_convolutions, normalizations, resizes, filtered_resizes, paddings, activations, pools, axes)


if __name__ == "__main__":
    run_parts(__doc__, PARTS)
