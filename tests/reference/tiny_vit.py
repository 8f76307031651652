"""Writes a small ViT, an input, and what PyTorch makes of it: tests/golden/tiny_vit.{json,safetensors}, tiny_vit.x.npy,
tiny_vit.logits.npy and tiny_vit.features.npy.

It has one block, 16 x 16 pixels, patches of 8, 12 channels, 3 heads and 5 classes; its graph is written out op by op, attention
included. Needs torch, numpy and safetensors.

    python tests/reference/tiny_vit.py
"""

import json
import pathlib

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn
from torch.nn import functional as F

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
DIM, HEADS, HIDDEN, TOKENS, CLASSES, EPSILON = 12, 3, 20, 5, 5, 1e-6


class TinyViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, DIM, 8, 8)
        self.class_token = nn.Parameter(torch.randn(1, 1, DIM))
        self.position = nn.Parameter(torch.randn(1, TOKENS, DIM))
        self.norm1 = nn.LayerNorm(DIM, EPSILON)
        self.qkv = nn.Linear(DIM, 3 * DIM)
        self.proj = nn.Linear(DIM, DIM)
        self.norm2 = nn.LayerNorm(DIM, EPSILON)
        self.fc1 = nn.Linear(DIM, HIDDEN)
        self.fc2 = nn.Linear(HIDDEN, DIM)
        self.norm = nn.LayerNorm(DIM, EPSILON)
        self.head = nn.Linear(DIM, CLASSES)

    def forward(self, image):
        x = self.patch(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1) + self.position
        q, k, v = (t.reshape(len(x), TOKENS, HEADS, -1).transpose(1, 2) for t in self.qkv(self.norm1(x)).chunk(3, -1))
        attention = F.scaled_dot_product_attention(q, k, v)
        x = x + self.proj(attention.transpose(1, 2).reshape(x.shape))
        x = x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
        x = self.norm(x)
        return self.head(x[:, 0]), x[:, :1]


def constant(name, **attrs):
    return {"op": "Constant", "inputs": [], "outputs": [name], "attrs": attrs}


def node(op, inputs, outputs, **attrs):
    entry = {"op": op, "inputs": inputs.split(), "outputs": outputs.split()}
    return entry | {"attrs": attrs} if attrs else entry


def head_nodes(name, perm):
    return [
        node("Reshape", f"{name}.flat split_shape", f"{name}.heads"),
        node("Transpose", f"{name}.heads", name, perm=perm),
    ]


def nodes():
    return [
        node("Conv", "image patch.weight patch.bias", "patches", kernel_shape=[8, 8], strides=[8, 8]),
        constant("flat_shape", value_ints=["N", DIM, TOKENS - 1]),
        node("Reshape", "patches flat_shape", "flat"),
        node("Transpose", "flat", "tokens", perm=[0, 2, 1]),
        constant("class_shape", value_ints=["N", 1, DIM]),
        node("Expand", "class_token class_shape", "class"),
        node("Concat", "class tokens", "joined", axis=1),
        node("Add", "joined position", "x0"),
        node("LayerNormalization", "x0 norm1.weight norm1.bias", "n1", axis=-1, epsilon=EPSILON),
        node("MatMul", "n1 qkv.weight_t", "qkv0"),
        node("Add", "qkv0 qkv.bias", "qkv"),
        node("Split", "qkv", "q.flat k.flat v.flat", axis=-1, num_outputs=3),
        constant("split_shape", value_ints=["N", TOKENS, HEADS, DIM // HEADS]),
        *head_nodes("q", [0, 2, 1, 3]),
        *head_nodes("k", [0, 2, 3, 1]),
        *head_nodes("v", [0, 2, 1, 3]),
        node("MatMul", "q k", "scores0"),
        constant("scale", value_float=(DIM // HEADS) ** -0.5),
        node("Mul", "scores0 scale", "scores"),
        node("Softmax", "scores", "shares", axis=-1),
        node("MatMul", "shares v", "mixed"),
        node("Transpose", "mixed", "mixed.heads", perm=[0, 2, 1, 3]),
        constant("token_shape", value_ints=["N", TOKENS, DIM]),
        node("Reshape", "mixed.heads token_shape", "mixed.flat"),
        node("MatMul", "mixed.flat proj.weight_t", "proj0"),
        node("Add", "proj0 proj.bias", "proj"),
        node("Add", "x0 proj", "x1"),
        node("LayerNormalization", "x1 norm2.weight norm2.bias", "n2", axis=-1, epsilon=EPSILON),
        node("MatMul", "n2 fc1.weight_t", "fc1_0"),
        node("Add", "fc1_0 fc1.bias", "fc1"),
        node("Gelu", "fc1", "act"),
        node("MatMul", "act fc2.weight_t", "fc2_0"),
        node("Add", "fc2_0 fc2.bias", "fc2"),
        node("Add", "x1 fc2", "x2"),
        node("LayerNormalization", "x2 norm.weight norm.bias", "normed", axis=-1, epsilon=EPSILON),
        constant("first", value_int=0),
        node("Gather", "normed first", "class_row", axis=1),
        node("Gemm", "class_row head.weight head.bias", "logits", transB=1),
        constant("starts", value_ints=[0]),
        constant("ends", value_ints=[1]),
        constant("axes", value_ints=[1]),
        node("Slice", "normed starts ends axes", "features"),
    ]


def write_graph(path):
    head = {
        "format": "vitc",
        "version": 1,
        "name": "tiny_vit",
        "inputs": [{"name": "image", "dtype": "float32", "shape": ["N", 3, 16, 16]}],
        "outputs": [{"name": "logits", "dtype": "float32", "shape": ["N", CLASSES]}, "features"],
        "preprocess": {
            "resize": "shortest", "size": 16, "filter": "bicubic", "crop": [16, 16],
            "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5],
        },
        "labels": ["ant", "bee", "cat", "dog", "eel"],
    }
    lines = ",\n".join(f'  {json.dumps(key)}: {json.dumps(value)}' for key, value in head.items())
    rows = ",\n".join("    " + json.dumps(entry) for entry in nodes())
    path.write_text(f'{{\n{lines},\n  "nodes": [\n{rows}\n  ]\n}}\n')


def main():
    torch.manual_seed(0)
    model = TinyViT().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
        image = torch.randn(3, 3, 16, 16)
        logits, features = model(image)
    weights = {}
    for name, tensor in model.state_dict().items():
        transposed = name.endswith("weight") and name.split(".")[0] in ("qkv", "proj", "fc1", "fc2")
        weights[name + "_t" * transposed] = np.ascontiguousarray(tensor.T if transposed else tensor)
    save_file(weights, GOLDEN / "tiny_vit.safetensors")
    write_graph(GOLDEN / "tiny_vit.json")
    for name, tensor in (("x", image), ("logits", logits), ("features", features)):
        np.save(GOLDEN / f"tiny_vit.{name}.npy", tensor.numpy())


if __name__ == "__main__":
    main()
