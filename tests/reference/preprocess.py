"""Pixels of the runtime against Pillow, timm and transformers, every value equal, for all images of make_images.py. (Of DINOv3,
whose floats PyTorch resizes, equal but for the last bits.)

    preprocess.py [--build FOLDER] [--vitc PATH]

Compiles preprocess_dump.c against FOLDER/libvitc_runtime.a and sends it every image: decoded, resized, and through the
preprocessing of timm (crop_pct 0.9, 0.95, 1, each filter, centre and squash) and of transformers' Pillow backend. With vitc
(default: $VITC), some of it again through `vitc preprocess`."""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile
import warnings

import numpy as np
from PIL import Image, ImageOps

from make_images import make_damaged, make_images
from support import ROOT, Checks, import_timm

warnings.filterwarnings("ignore")
import_timm()

import torch  # noqa: E402
import transformers  # noqa: E402
from timm.data import create_transform  # noqa: E402

RESIZES = {"none": 1, "shortest": 2, "exact": 3}
FILTERS = {"nearest": 0, "bilinear": 1, "bicubic": 2, "lanczos": 3}
PILLOW = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}
ARITHMETICS = ("torchvision", "transformers", "float")
INCEPTION = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SIZES = ((1, 1), (7, 3), (97, 61), (224, 224), (320, 200), (256, 1), (1, 256))
# A whole resize of these to the shortest edge of 224 takes gigabytes, in Pillow: one pipeline is enough to see them equal.
EXTREME = ("shape_1x4000.png", "shape_4000x1.png")


class Pipeline:
    """A preprocessing: the reference's function from an RGB image to float32 (3, H, W), and the fields of vitc_preprocess."""

    def __init__(self, name, reference, resize, size, filter, crop, mean_std, arithmetic="torchvision"):
        self.name, self.reference = name, reference
        self.resize, self.size, self.filter, self.crop, self.mean_std = resize, size, filter, crop, mean_std
        self.arithmetic, self.floor = arithmetic, arithmetic != "torchvision"

    def fields(self):
        values = [RESIZES[self.resize], FILTERS[self.filter], ARITHMETICS.index(self.arithmetic), int(self.floor)]
        values += [*self.size, *(self.crop or (0, 0)), float(1 / 255).hex()]
        return [str(value) for value in values] + [float(value).hex() for part in self.mean_std for value in part]

    def within(self):
        """Sums of PyTorch's floats differ in the last bit between CPUs: a few of them, divided by the deviation."""
        return 1e-5 if self.arithmetic == "float" else 0

    def json(self):
        size = self.size[0] if self.resize == "shortest" else list(self.size)
        return {
            "resize": self.resize, "size": size, "filter": self.filter, "crop": list(self.crop) if self.crop else None,
            "crop_rounding": "floor" if self.floor else "half_even",
            "arithmetic": self.arithmetic,
            "rescale": 1 / 255, "mean": list(self.mean_std[0]), "std": list(self.mean_std[1]),
        }  # fmt: skip


def timm_pipeline(size, crop_pct, filter, mode="center", mean_std=INCEPTION):
    high, wide = size
    transform = create_transform(
        (3, high, wide), interpolation=filter, crop_pct=crop_pct, crop_mode=mode, mean=mean_std[0], std=mean_std[1]
    )
    scaled = (int(high // crop_pct), int(wide // crop_pct))
    name = f"timm {high}x{wide} {crop_pct} {filter} {mode}"
    resize = "exact" if mode == "squash" else "shortest"
    return Pipeline(name, lambda image: transform(image).numpy(), resize, scaled, filter, size, mean_std)


def transformers_pipeline(name, processor, resize, size, filter, crop):
    def reference(image):
        return processor(images=image, return_tensors="np")["pixel_values"][0]

    mean_std = (processor.image_mean, processor.image_std)
    return Pipeline(f"transformers {name}", reference, resize, size, filter, crop, mean_std, "transformers")


def float_pipeline(size, filter="bilinear", crop=None):
    """transformers' DINOv3, which resizes floats by PyTorch."""
    high, wide = size
    processor = transformers.DINOv3ViTImageProcessor(
        size={"height": high, "width": wide}, resample=PILLOW[filter], do_center_crop=crop is not None,
        crop_size={"height": crop[0], "width": crop[1]} if crop else None)

    def reference(image):
        return processor(images=image, return_tensors="pt")["pixel_values"][0].numpy()

    return Pipeline(f"DINOv3 {high}x{wide} {filter} {crop or ''}", reference, "exact", size, filter, crop, IMAGENET, "float")


def pipelines():
    made = [
        timm_pipeline((224, 224), 0.9, "bicubic"),
        timm_pipeline((224, 224), 0.9, "bilinear", mean_std=IMAGENET),
        timm_pipeline((224, 224), 0.95, "bicubic", mean_std=IMAGENET),
        timm_pipeline((384, 384), 1.0, "bicubic"),
        timm_pipeline((224, 224), 0.875, "lanczos"),
        timm_pipeline((224, 224), 0.9, "bicubic", "squash"),
        timm_pipeline((224, 224), 1.0, "bilinear", "squash"),
        timm_pipeline((112, 112), 0.95, "lanczos", "squash", IMAGENET),
        timm_pipeline((98, 154), 0.9, "bicubic"),
        timm_pipeline((33, 33), 0.95, "nearest"),
    ]
    vit = transformers.ViTImageProcessorPil()
    deit = transformers.DeiTImageProcessorPil(image_mean=list(IMAGENET[0]), image_std=list(IMAGENET[1]))
    clip = transformers.CLIPImageProcessorPil()
    dino = transformers.BitImageProcessorPil(
        size={"shortest_edge": 256}, image_mean=list(IMAGENET[0]), image_std=list(IMAGENET[1])
    )
    padded = transformers.BitImageProcessorPil(size={"shortest_edge": 90}, crop_size={"height": 101, "width": 97})
    squashed = transformers.DeiTImageProcessorPil(size={"height": 97, "width": 64}, crop_size={"height": 64, "width": 65})
    return made + [
        transformers_pipeline("ViT", vit, "exact", (224, 224), "bilinear", None),
        transformers_pipeline("DeiT", deit, "exact", (256, 256), "bicubic", (224, 224)),
        transformers_pipeline("CLIP", clip, "shortest", (224, 224), "bicubic", (224, 224)),
        transformers_pipeline("DINOv2", dino, "shortest", (256, 256), "bicubic", (224, 224)),
        transformers_pipeline("padded", padded, "shortest", (90, 90), "bicubic", (101, 97)),
        transformers_pipeline("squashed", squashed, "exact", (97, 64), "bicubic", (64, 65)),
        float_pipeline((224, 224)),
        float_pipeline((160, 97)),
        float_pipeline((96, 130), "bicubic", (80, 64)),
    ]


class Dump:
    """The compiled preprocess_dump.c, one process for all jobs."""

    def __init__(self, build, folder):
        program, self.result = folder / "preprocess_dump", folder / "result"
        source = pathlib.Path(__file__).with_name("preprocess_dump.c")
        command = [*os.environ.get("CC", "cc").split(), "-std=c11", "-Wall", "-Wextra", "-Werror"]
        command += ["-I", str(ROOT / "runtime/include"), "-o", str(program), str(source)]
        command += [str(pathlib.Path(build) / "libvitc_runtime.a"), "-ljpeg", "-lpng", "-lwebp", "-lpthread", "-lm"]
        subprocess.run(command, check=True)
        self.process = subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def job(self, kind, image, *fields):
        """The values, or the line about the fault."""
        self.process.stdin.write("\t".join([kind, str(image), str(self.result), *fields]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if answer != "ok":
            return answer or f"the program ended with status {self.process.wait()}"
        data = self.result.read_bytes()
        height, width = np.frombuffer(data, np.uint32, 2)
        if kind == "pixels":
            return np.frombuffer(data, np.float32, offset=8).reshape(3, height, width)
        return np.frombuffer(data, np.uint8, offset=8).reshape(height, width, 3)


def equal(checks, name, got, want, within=0):
    if isinstance(got, str):
        return checks.check(name, False, got)
    if got.shape != want.shape or got.dtype != want.dtype:
        return checks.check(name, False, f"{got.dtype} {got.shape}, wanted {want.dtype} {want.shape}")
    different = np.argwhere(abs(got - want) > within if within else got != want)
    detail = f"{len(different)} of {got.size} values differ, the first at {different[0].tolist()}" if len(different) else ""
    return checks.check(name, not len(different), detail)


def read(path):
    return ImageOps.exif_transpose(Image.open(path)).convert("RGB")


def check_image(checks, dump, path, pixel_pipelines):
    image = read(path)
    plain = Image.fromarray(np.asarray(image))  # without the PNG's transparent colour, which transformers would blend
    if not equal(checks, f"{path.name} decoded", dump.job("decode", path), np.asarray(image)):
        return
    for number, (width, height) in enumerate(SIZES):
        filter = list(FILTERS)[(number + len(path.name)) % 4]
        want = np.asarray(plain.resize((width, height), PILLOW[filter]))
        got = dump.job("resize", path, str(width), str(height), str(FILTERS[filter]))
        equal(checks, f"{path.name} resized to {width}x{height} {filter}", got, want)
    for number, pipeline in enumerate(pixel_pipelines):
        if path.name in EXTREME and pipeline.resize == "shortest" and number not in (0, 9):
            continue
        got = dump.job("pixels", path, *pipeline.fields())
        equal(checks, f"{path.name} {pipeline.name}", got, pipeline.reference(plain), pipeline.within())


def check_bytes(checks, dump, path):
    """A model of 8-bit input gets the fitted pixels as they are."""
    pipeline = timm_pipeline((224, 224), 0.9, "bicubic")
    transform = create_transform((3, 224, 224), interpolation="bicubic", crop_pct=0.9, normalize=False)
    want = transform(read(path)).numpy().transpose(1, 2, 0)
    equal(checks, f"{path.name} as bytes", dump.job("bytes", path, *pipeline.fields()), np.ascontiguousarray(want))


def check_damaged(checks, dump, path):
    try:
        read(path)
        refused = False
    except Exception:  # noqa: BLE001: Pillow raises many kinds
        refused = True
    got = dump.job("decode", path)
    checks.check(f"{path.name} refused", refused and isinstance(got, str) and ": " in got, got if isinstance(got, str) else "")


def check_command(checks, vitc, folder, images, pixel_pipelines):
    """`vitc preprocess` on a model that has nothing but an input of the pipeline's size."""
    wanted = ("china.jpg", "exif6.jpg", "cmyk.jpg", "rgba.png", "grey16_low.png", "lossy.webp", "palette_transparent.png")
    for number, pipeline in enumerate(pixel_pipelines):
        if pipeline.resize == "shortest" and pipeline.size[0] != pipeline.size[1]:
            continue
        high, wide = pipeline.crop or pipeline.size
        model, out = folder / f"model{number}.json", folder / "pixels.npy"
        value = {"name": "image", "dtype": "float32", "shape": ["N", 3, high, wide]}
        graph = {
            "format": "vitc", "version": 1, "name": "pixels", "weights": None, "inputs": [value],
            "outputs": [{"name": "probabilities", "dtype": "float32", "shape": ["N", 3, high, wide]}],
            "preprocess": pipeline.json(),
            "nodes": [{"op": "Softmax", "inputs": ["image"], "outputs": ["probabilities"], "attrs": {"axis": -1}}],
        }  # fmt: skip
        model.write_text(json.dumps(graph))
        for path in (path for path in images if path.name in wanted):
            result = subprocess.run([vitc, "preprocess", model, path, "-o", out], capture_output=True, text=True)
            got = np.load(out) if result.returncode == 0 else result.stderr.strip()
            want = pipeline.reference(Image.fromarray(np.asarray(read(path))))
            want = want[None] if not isinstance(got, str) else want
            equal(checks, f"vitc preprocess {path.name} {pipeline.name}", got, want, pipeline.within())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=os.environ.get("VITC_BUILD", str(ROOT / "build")))
    parser.add_argument("--vitc", default=os.environ.get("VITC"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    checks = Checks()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "damaged").mkdir()
        images = make_images(folder)
        dump = Dump(options.build, folder)
        all_pipelines = pipelines()
        for path in images:
            check_image(checks, dump, path, all_pipelines)
        for path in images[:4]:
            check_bytes(checks, dump, path)
        for path in make_damaged(folder / "damaged", images):
            check_damaged(checks, dump, path)
        if options.vitc:
            check_command(checks, options.vitc, folder, images, all_pipelines)
    print(f"{len(images)} images")
    checks.finish()


if __name__ == "__main__":
    main()
