#!/usr/bin/env python3
"""Writes the held-out test split as PNG files, FOLDER/LABEL/ROW.png, the very pixels that train.py measures the accuracy on.

    python3 export_test.py FOLDER [--per-digit N]"""

import argparse
import pathlib

from PIL import Image

import digits
from train import NAMES


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--per-digit", type=int, default=100)
    args = parser.parse_args()
    images, labels = digits.load()
    written = [0] * len(NAMES)
    for row in digits.test_rows():
        label = labels[row]
        if written[label] < args.per_digit:
            written[label] += 1
            (args.folder / NAMES[label]).mkdir(parents=True, exist_ok=True)
            Image.fromarray(images[row]).save(args.folder / NAMES[label] / f"{row:04d}.png")


if __name__ == "__main__":
    main()
