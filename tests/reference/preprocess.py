"""Pixels of the runtime against Pillow, timm and transformers, every value equal, for all images of make_images.py. (Of DINOv3,
whose floats PyTorch resizes, equal but for the last bits.)

    preprocess.py [--build FOLDER] [--vitc PATH]

Compiles preprocess_dump.c against FOLDER/libvitc_runtime.a and sends it every image: decoded, resized, and through the
preprocessing of timm (crop_pct 0.9, 0.95, 1, each filter, centre and squash) and of transformers' Pillow backend. With vitc
(default: $VITC), some of it again through `vitc preprocess`.

Of the processors that keep a picture's shape (SAM, YOLOS, DPT with keep_aspect_ratio) also the sizes of many pictures, and how
far transformers' torchvision backend is from its Pillow one: it resizes with other roundings, so that pixels differ by up to
GREY_LEVELS of 255."""

import argparse
import json
import os
import pathlib
import subprocess
import random
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

RESIZES = {"none": 1, "shortest": 2, "exact": 3, "longest": 4, "keep_aspect": 5, "limited": 6}
FILTERS = {"nearest": 0, "bilinear": 1, "bicubic": 2, "lanczos": 3}
PILLOW = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}
ARITHMETICS = ("torchvision", "transformers", "float")
INCEPTION = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SIZES = ((1, 1), (7, 3), (97, 61), (224, 224), (320, 200), (256, 1), (1, 256))
# A whole resize of these to the shortest edge of 224 takes gigabytes, in Pillow: one pipeline is enough to see them equal.
EXTREME = ("shape_1x4000.png", "shape_4000x1.png", "shape_3x1000.png", "shape_1000x3.png")
SHAPED = ("china.jpg", "exif6.jpg", "exif3.jpg", "one_pixel.jpg", "420_odd.jpg", "shape_224x224.png", "shape_3x1000.png",
          "shape_1000x3.png", "shape_1x4000.png", "shape_4000x1.png", "shape_2000x40.png")
GREY_LEVELS = 2


class Pipeline:
    """A preprocessing: the reference's function from an RGB image to float32 (3, H, W), and the fields of vitc_preprocess."""

    def __init__(self, name, reference, resize, size, filter, crop, mean_std, arithmetic="torchvision", rescale=1 / 255):
        self.name, self.reference = name, reference
        self.resize, self.size, self.filter, self.crop, self.mean_std = resize, size, filter, crop, mean_std
        self.arithmetic, self.floor, self.rescale = arithmetic, arithmetic != "torchvision", rescale

    def fields(self):
        rounding = 2 if self.resize == "longest" else int(self.floor)
        values = [RESIZES[self.resize], FILTERS[self.filter], ARITHMETICS.index(self.arithmetic), rounding]
        values += [*self.size, *(self.crop or (0, 0)), float(self.rescale).hex()]
        return [str(value) for value in values] + [float(value).hex() for part in self.mean_std for value in part]

    def within(self):
        """Sums of PyTorch's floats differ in the last bit between CPUs: a few of them, divided by the deviation."""
        return 1e-5 if self.arithmetic == "float" else 0

    def json(self):
        size = self.size[0] if self.resize in ("shortest", "longest") else list(self.size)
        crop = {"crop": list(self.crop) if self.crop else None, "crop_rounding": "floor" if self.floor else "half_even"}
        if self.resize == "longest":
            crop = {"pad": list(self.crop)}
        elif self.keeps_shape():
            crop = {"multiple": self.crop[0]}
        return {
            "resize": self.resize, "size": size, "filter": self.filter, **crop, "arithmetic": self.arithmetic,
            "rescale": self.rescale, "mean": list(self.mean_std[0]), "std": list(self.mean_std[1]),
        }  # fmt: skip

    def keeps_shape(self):
        """The size of what comes out depends on the picture."""
        return self.resize in ("keep_aspect", "limited")


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


def sam_pipeline(size, pad):
    processor = transformers.SamImageProcessorPil(size={"longest_edge": size}, pad_size={"height": pad[0], "width": pad[1]})
    return transformers_pipeline(f"SAM {size}", processor, "longest", (size, size), "bilinear", pad)


def yolos_pipeline(shortest, longest):
    processor = transformers.YolosImageProcessorPil(size={"shortest_edge": shortest, "longest_edge": longest})
    return transformers_pipeline(f"YOLOS {shortest}", processor, "limited", (shortest, longest), "bilinear", (16, 16))


def dpt_pipeline(high, wide, multiple):
    processor = transformers.DPTImageProcessorPil(
        size={"height": high, "width": wide}, keep_aspect_ratio=True, ensure_multiple_of=multiple)
    return transformers_pipeline(f"DPT {high}x{wide}", processor, "keep_aspect", (high, wide), "bicubic", (multiple, multiple))


def segment_anything_pipeline(size):
    """Its ResizeLongestSide, and its model's preprocess: pixels of 0 to 255 normalised, then zeros."""
    mean_std = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))

    def reference(image):
        scale = size * 1.0 / max(image.size)
        edges = [int(edge * scale + 0.5) for edge in image.size]
        pixels = torch.as_tensor(np.asarray(image.resize(edges, Image.Resampling.BILINEAR))).permute(2, 0, 1)
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in mean_std)
        padding = (0, size - edges[0], 0, size - edges[1])
        return torch.nn.functional.pad((pixels - mean) / std, padding).numpy()

    return Pipeline(f"segment-anything {size}", reference, "longest", (size, size), "bilinear", (size, size), mean_std,
                    rescale=1)


def shaped_pipelines():
    """The sizes that published models have."""
    return [sam_pipeline(1024, (1024, 1024)), yolos_pipeline(800, 1333), dpt_pipeline(518, 518, 14),
            segment_anything_pipeline(1024)]


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
        sam_pipeline(192, (192, 192)),
        sam_pipeline(97, (101, 130)),
        segment_anything_pipeline(128),
        yolos_pipeline(90, 133),
        dpt_pipeline(70, 98, 14),
        dpt_pipeline(101, 60, 1),
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
        if kind == "size":
            return int(height), int(width)
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


def opaque(image):
    """Without the PNG's transparent colour, which transformers would blend."""
    return Image.fromarray(np.asarray(image))


def check_pixels(checks, name, got, pipeline, image):
    """Both refuse a picture of which the resize leaves no pixels."""
    try:
        want = pipeline.reference(image)
    except ValueError as fault:
        empty = any(words in str(fault) for words in ("must be > 0", "height=0", "width=0"))
        return checks.check(f"{name} refused", empty and got == "no pixels, or too many: size", f"{fault}; {got}")
    return equal(checks, name, got, want, pipeline.within())


def check_image(checks, dump, path, pixel_pipelines):
    image = read(path)
    plain = opaque(image)
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
        check_pixels(checks, f"{path.name} {pipeline.name}", got, pipeline, plain)


def check_shaped(checks, dump, paths):
    for pipeline in shaped_pipelines():
        for path in paths:
            got = dump.job("pixels", path, *pipeline.fields())
            check_pixels(checks, f"{path.name} {pipeline.name}", got, pipeline, opaque(read(path)))


def check_other_backend(checks, dump, path):
    for pipeline, other in zip(shaped_pipelines()[:3], (
        transformers.SamImageProcessor(), transformers.YolosImageProcessor(),
        transformers.DPTImageProcessor(size={"height": 518, "width": 518}, keep_aspect_ratio=True, ensure_multiple_of=14),
    )):  # fmt: skip
        got = dump.job("pixels", path, *pipeline.fields())
        want = other(images=read(path), return_tensors="pt")["pixel_values"][0].numpy()
        within = 1.01 * GREY_LEVELS / 255 / min(pipeline.mean_std[1])
        equal(checks, f"{path.name} {pipeline.name} near the torchvision backend", got, want, within)


def check_sizes(checks, dump):
    """Edges by the rules' own functions in transformers."""
    from transformers.models.dpt.image_processing_pil_dpt import get_resize_output_image_size
    from transformers.models.yolos.image_processing_pil_yolos import get_size_with_aspect_ratio_yolos

    sam = transformers.SamImageProcessorPil()
    rules = (
        (sam_pipeline(1024, (1024, 1024)), lambda high, wide: sam._get_preprocess_shape((high, wide), 1024)),
        (yolos_pipeline(800, 1333), lambda high, wide: get_size_with_aspect_ratio_yolos((high, wide), 800, 1333)),
        (yolos_pipeline(512, 864), lambda high, wide: get_size_with_aspect_ratio_yolos((high, wide), 512, 864)),
        (dpt_pipeline(518, 518, 14), lambda high, wide: get_resize_output_image_size(
            np.empty((3, high, wide), bool), (518, 518), keep_aspect_ratio=True, multiple=14)),
        (dpt_pipeline(384, 512, 1), lambda high, wide: get_resize_output_image_size(
            np.empty((3, high, wide), bool), (384, 512), keep_aspect_ratio=True, multiple=1)),
    )  # fmt: skip
    draw = random.Random(0)
    sizes = [(draw.randint(1, limit), draw.randint(1, limit)) for limit in (20, 300, 1500, 5000) for _ in range(500)]
    sizes += [(800, wide) for wide in range(700, 1400)] + [(high, 512) for high in range(400, 900)]
    for pipeline, rule in rules:
        wrong = []
        for high, wide in sizes:
            want = rule(high, wide)
            want = (want.height, want.width) if hasattr(want, "height") else want
            got = dump.job("size", "-", str(wide), str(high), *pipeline.fields())
            if got != (tuple(want) if min(want) > 0 else "no pixels, or too many: size"):
                wrong.append(((high, wide), got, want))
        checks.check(f"{len(sizes)} sizes of {pipeline.name}", not wrong, wrong[:3] or "")


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


def write_model(folder, name, pipeline, size):
    """A model that has nothing but an input of this size."""
    high, wide = (int(edge) for edge in size)
    value = {"name": "image", "dtype": "float32", "shape": ["N", 3, high, wide]}
    graph = {
        "format": "vitc", "version": 1, "name": "pixels", "weights": None, "inputs": [value],
        "outputs": [{"name": "probabilities", "dtype": "float32", "shape": ["N", 3, high, wide]}],
        "preprocess": pipeline.json(),
        "nodes": [{"op": "Softmax", "inputs": ["image"], "outputs": ["probabilities"], "attrs": {"axis": -1}}],
    }  # fmt: skip
    (folder / name).write_text(json.dumps(graph))
    return folder / name


def check_command(checks, vitc, folder, images, pixel_pipelines):
    """`vitc preprocess`, and where a model has the size of some pictures only, its line about the others."""
    wanted = ("china.jpg", "exif6.jpg", "cmyk.jpg", "rgba.png", "grey16_low.png", "lossy.webp", "palette_transparent.png")
    paths = [path for path in images if path.name in wanted]
    for number, pipeline in enumerate(pixel_pipelines):
        if pipeline.resize == "shortest" and pipeline.size[0] != pipeline.size[1]:
            continue
        size = pipeline.crop or pipeline.size
        if pipeline.keeps_shape():
            size = pipeline.reference(opaque(read(paths[0]))).shape[1:]
        model, out = write_model(folder, f"model{number}.json", pipeline, size), folder / "pixels.npy"
        for path in paths:
            result = subprocess.run([vitc, "preprocess", model, path, "-o", out], capture_output=True, text=True)
            want = pipeline.reference(opaque(read(path)))
            name = f"vitc preprocess {path.name} {pipeline.name}"
            if want.shape[1:] != tuple(size):
                line = (f"vitc: {path}: keeps its shape and comes out at {want.shape[1]}x{want.shape[2]}, but the model takes "
                        f"{size[0]}x{size[1]}: import it with --image-size {want.shape[1]}x{want.shape[2]} for such pictures")
                checks.check(f"{name}, another size", (result.returncode, result.stderr.strip()) == (3, line), result.stderr)
                continue
            got = np.load(out) if result.returncode == 0 else result.stderr.strip()
            equal(checks, name, got, want if isinstance(got, str) else want[None], pipeline.within())


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
        check_shaped(checks, dump, [path for path in images if path.name in SHAPED])
        check_other_backend(checks, dump, images[0])
        check_sizes(checks, dump)
        for path in make_damaged(folder / "damaged", images):
            check_damaged(checks, dump, path)
        if options.vitc:
            check_command(checks, options.vitc, folder, images, all_pipelines)
    print(f"{len(images)} images")
    checks.finish()


if __name__ == "__main__":
    main()
