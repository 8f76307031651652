"""Writes a ViT of a few bytes as PyTorch's two exporters write it, with a dynamic batch, an input, and what PyTorch makes of
it: tests/golden/tiny_onnx.{torchscript,dynamo}.onnx, tiny_onnx.x.npy and tiny_onnx.y.npy. Documentation is left out and names
are cut short, so that a fuzzer can use the files as seeds.

    python tests/reference/tiny_onnx.py
"""

import contextlib
import io
import pathlib

from make_vits import reseed

import numpy as np
import onnx
import timm
import torch

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"


def shorten(model):
    """Every name of a value becomes a short one; inputs and outputs of the graph keep theirs."""
    graph = model.graph
    kept = [value.name for value in [*graph.input, *graph.output]]
    names = {name: name for name in kept} | {"": ""}

    def short(name):
        return names.setdefault(name, f"v{len(names)}")

    for tensor in graph.initializer:
        tensor.name = short(tensor.name)
    for node in graph.node:
        node.input[:] = [short(name) for name in node.input]
        node.output[:] = [short(name) for name in node.output]
        for field in ("name", "doc_string", "metadata_props"):
            node.ClearField(field)
    for field in ("value_info", "metadata_props", "doc_string"):
        graph.ClearField(field)
    for item in [*graph.input, *graph.output, *graph.initializer]:
        item.ClearField("metadata_props")
        item.ClearField("doc_string")
    model.ClearField("metadata_props")
    model.ClearField("functions")
    return model


def main():
    model = reseed(timm.create_model("vit_tiny_patch16_224", img_size=4, patch_size=2, embed_dim=4, depth=1, num_heads=2,
                                     mlp_ratio=2, num_classes=3), 31)
    x = torch.randn(3, 3, 4, 4, generator=torch.Generator().manual_seed(32))
    with torch.no_grad():
        np.save(GOLDEN / "tiny_onnx.x.npy", x.numpy())
        np.save(GOLDEN / "tiny_onnx.y.npy", model(x).numpy())
        for name, options in (
                ("torchscript", dict(dynamo=False, opset_version=14, dynamic_axes={"x": {0: "batch"}})),
                ("dynamo", dict(dynamo=True, opset_version=18, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)))):
            path = GOLDEN / f"tiny_onnx.{name}.onnx"
            with contextlib.redirect_stdout(io.StringIO()):
                torch.onnx.export(model, (x,), path, input_names=["x"], output_names=["y"], **options)
            loaded = shorten(onnx.load(path))
            onnx.save(loaded, path)
            pathlib.Path(f"{path}.data").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
