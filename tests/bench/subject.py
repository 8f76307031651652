"""What all sides of the comparison run: a timm model with seed 0, one input, and what PyTorch makes of it.

Everything is a file of one folder per model, made once: the weights as timm's state dict, the input and PyTorch's logits as .npy.
"""
import os
import sys

# Largest difference of the logits from PyTorch's in fp32, over the standard deviation of PyTorch's, that may pass for rounding: in fp32
# any order of sums; in low precision the weights are random, and what is wrong is off by the deviation and more.
ERROR_LIMITS = {"fp32": 1e-3, "bf16": 0.2, "int8": 1}


class Subject:
    def __init__(self, folder, model, batch, threads):
        self.model, self.batch, self.threads = model, batch, threads
        self.folder = os.path.join(folder, model)
        os.makedirs(self.folder, exist_ok=True)
        self.weights = self.path("weights.safetensors")
        self.input = self.path(f"input_b{batch}.npy")
        self.logits = self.path(f"logits_b{batch}.npy")

    def path(self, name):
        return os.path.join(self.folder, name)


def import_timm():
    """timm imports torchvision, of whose compiled operators a ViT uses none. When they don't fit this PyTorch, importing
    torchvision fails for want of two of them; declared, without a body, they are enough."""
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        import_timm.library = library = torch.library.Library("torchvision", "DEF")  # lives as long as its declarations
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import timm

    return timm


def torch_model(subject):
    import torch
    from safetensors.torch import load_file

    with torch.device("meta"):
        model = import_timm().create_model(subject.model)
    model.load_state_dict(load_file(subject.weights), assign=True)
    return model.eval().requires_grad_(False)


def make(subject):
    """Weights, input and reference, each unless it is there."""
    if all(os.path.exists(path) for path in (subject.weights, subject.input, subject.logits)):
        return
    import numpy
    import torch
    from safetensors.torch import save_file

    if not os.path.exists(subject.weights):
        torch.manual_seed(0)
        state = import_timm().create_model(subject.model).state_dict()
        # Layer scales begin at 1e-5: with them the logits would not show what the blocks compute.
        save_file({name: torch.ones_like(tensor) if name.endswith(".gamma") else tensor for name, tensor in state.items()}, subject.weights)
    model = torch_model(subject)
    if not os.path.exists(subject.input):
        size = getattr(model.patch_embed, "img_size", (224, 224))
        pixels = numpy.random.RandomState(0).standard_normal((subject.batch, 3, *size))
        numpy.save(subject.input, pixels.astype(numpy.float32))
    if not os.path.exists(subject.logits):
        with torch.inference_mode():
            logits = model(torch.from_numpy(numpy.load(subject.input)))
        numpy.save(subject.logits, logits.numpy())


def accuracy(subject, path):
    """Largest difference from PyTorch over the deviation of PyTorch's logits, and the least cosine of an image's logits with
    PyTorch's; infinite and -1 where shapes differ or a NaN is."""
    import numpy

    expected = numpy.load(subject.logits).astype(numpy.float64)
    found = numpy.load(path).astype(numpy.float64)
    if found.shape != expected.shape or not numpy.isfinite(found).all():
        return float("inf"), -1.0
    norms = numpy.linalg.norm(found, axis=1) * numpy.linalg.norm(expected, axis=1)
    cosine = ((found * expected).sum(1) / numpy.maximum(norms, numpy.finfo(numpy.float64).tiny)).min()
    return float(numpy.abs(found - expected).max() / expected.std()), float(cosine)
