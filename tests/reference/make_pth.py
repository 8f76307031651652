"""Writes tests/golden/checkpoint.pth and checkpoint_legacy.pth, a training's checkpoint in both forms of torch.save, and
checkpoint.safetensors, the tensors that a reader must find in them.

    make_pth.py"""

import torch
from safetensors.torch import save_file

from support import ROOT


def main():
    torch.manual_seed(7)
    base = torch.randn(4, 3, 2)
    tensors = {
        "plain": base,
        "transposed": base.permute(2, 0, 1),
        "part": base[1:3, :, 1],
        "tied": base,
        "half": torch.randn(5).half(),
        "bfloat": torch.randn(5).bfloat16(),
        "double": torch.randn(3, dtype=torch.float64),
        "counts": torch.tensor([1, -(2**40)]),
        "int": torch.tensor([[7, -(2**31)]], dtype=torch.int32),
        "short": torch.tensor([-32768, 5, 32767], dtype=torch.int16),
        "char": torch.tensor([-128, 127], dtype=torch.int8),
        "bytes": torch.tensor([0, 255], dtype=torch.uint8),
        "mask": torch.tensor([True, False, True]),
        "scalar": torch.tensor(3.5),
        "none": torch.empty(2, 0),
    }
    checkpoint = {
        "model": {f"module.{name}": tensor for name, tensor in tensors.items()}, "epoch": 3, "lr": 0.5, "best": None,
        "size": base.shape, "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"params": [0, 1]}]},
    }  # fmt: skip
    golden = ROOT / "tests" / "golden"
    torch.save(checkpoint, golden / "checkpoint.pth")
    torch.save(checkpoint, golden / "checkpoint_legacy.pth", _use_new_zipfile_serialization=False)
    save_file({name: (tensor.int() if tensor.dtype == torch.int16 else tensor).clone(memory_format=torch.contiguous_format)
               for name, tensor in tensors.items()}, golden / "checkpoint.safetensors")


if __name__ == "__main__":
    main()
