"""Writes tests/golden/passes/weights.safetensors: the weights that the graphs beside it share. Needs numpy and safetensors.

    python tests/reference/make_pass_weights.py
"""

import pathlib

import numpy as np
from safetensors.numpy import save_file

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "golden" / "passes"
SHAPES = {
    "class_token": (1, 1, 4),
    "distillation_token": (1, 1, 4),
    "position": (1, 6, 4),
    "patch.weight": (4, 3, 2, 2),
    "patch.bias": (4,),
    "mean": (3,),
    "std": (3,),
    "mean_planes": (1, 3, 1, 1),
    "norm.weight": (4,),
    "norm.bias": (4,),
    "query.weight": (4, 4),
    "query.bias": (4,),
    "key.weight": (4, 4),
    "value.weight": (4, 4),
    "value.bias": (4,),
    "qkv.weight": (12, 4),
    "qkv.bias": (12,),
    "proj.weight": (4, 4),
    "proj.bias": (4,),
    "fc1.weight": (6, 4),
    "fc1.bias": (6,),
    "gamma": (4,),
    "head.weight": (3, 4),
    "head.bias": (3,),
}


def main():
    random = np.random.default_rng(0)
    tensors = {name: random.uniform(-1, 1, shape).astype(np.float32) for name, shape in SHAPES.items()}
    tensors["std"] = np.array([0.25, 0.5, 0.3], np.float32)
    save_file(tensors, FOLDER / "weights.safetensors")


if __name__ == "__main__":
    main()
