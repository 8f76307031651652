"""Preprocessing of models whose processors keep a picture's shape (SAM, YOLOS, Depth Anything): imported, and the pixels of
`vitc preprocess` equal to those of the processor's Pillow backend.

    import_picture.py [--vitc PATH] [--compiled] [--only PART]"""

import json
import subprocess

from make_vits import reseed, run_parts
from make_images import ORIENTATION

import numpy as np
import sklearn.datasets
import support
import timm
import transformers
from PIL import Image, ImageOps
from safetensors.torch import save_file

TINY = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2)
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def pictures(run):
    """Wide, tall by its orientation, square, and so narrow that nothing is left of a side at most sizes."""
    photo = Image.fromarray(sklearn.datasets.load_sample_images().images[0])
    made = {"wide.jpg": photo, "square.png": photo.crop((0, 0, 200, 200)), "narrow.png": photo.crop((0, 0, 2, 400))}
    paths = []
    for name, picture in made.items():
        paths.append(run.folder / name)
        picture.save(paths[-1])
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    paths.append(run.folder / "tall.jpg")
    photo.save(paths[-1], exif=exif)
    return paths


def block(run, source, *options):
    model = run.import_model(source, *options)
    return model, json.loads(model.read_text()).get("preprocess")


def same_pixels(run, name, model, processor, path):
    """Equal pixels, or one line that says what the processor would have made, or that it makes nothing."""
    picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    out = run.path(".npy")
    result = subprocess.run([support.VITC, "preprocess", model, path, "-o", out], capture_output=True, text=True)
    takes = tuple(json.loads(model.read_text())["inputs"][0]["shape"][2:])
    try:
        want = processor(images=picture, return_tensors="np")["pixel_values"]
    except ValueError:
        said = f"is {picture.height}x{picture.width}, of which the resize leaves no pixels"
    else:
        if want.shape[2:] == takes:
            equal = result.returncode == 0 and np.array_equal(np.load(out), want)
            return run.checks.check(f"{name}, {path.name}: pixels", equal, result.stderr)
        size = "%dx%d" % want.shape[2:]
        said = f"comes out at {size}, but the model takes {takes[0]}x{takes[1]}: import it with --image-size {size}"
    refused = result.returncode == 3 and said in result.stderr and result.stderr.count("\n") == 1
    run.checks.check(f"{name}, {path.name}: refused", refused, result.stderr.strip())


def sam_model(size, seed):
    config = transformers.SamVisionConfig(**TINY, image_size=size, patch_size=8, mlp_dim=48, output_channels=24, window_size=3,
                                          global_attn_indexes=[1])
    return reseed(transformers.SamVisionModel(config), seed)


def sam(run):
    folder = run.transformers_folder(sam_model(64, 1))
    want = {"resize": "longest", "size": 64, "filter": "bilinear", "pad": [64, 64], "arithmetic": "transformers",
            "rescale": 1 / 255, "mean": IMAGENET[0], "std": IMAGENET[1]}
    model, got = block(run, folder)
    run.checks.check("SAM without a file", got == want, got)
    processor = transformers.SamImageProcessorPil(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
    for path in pictures(run):
        same_pixels(run, "SAM without a file", model, processor, path)
    compiled = run.path(".o")
    support.vitc("compile", model, "-o", compiled)
    inspected = support.vitc("inspect", compiled)
    line = "preprocess   resize longest edge 64x64 bilinear, padded to 64x64, "
    run.checks.check("SAM inspected", line in inspected)
    command = [support.VITC, "compile", model, "-o", run.path(".o"), "--input", "u8"]
    result = subprocess.run(command, capture_output=True, text=True)
    refused = result.returncode == 3 and "padded with zeros after normalisation" in result.stderr
    run.checks.check("SAM of bytes refused", refused, result.stderr.strip())

    transformers.SamImageProcessorPil().save_pretrained(folder)
    run.checks.check("SAM at 1024, scaled", block(run, folder)[1] == want)
    (folder / "preprocessor_config.json").unlink()
    processor = transformers.SamImageProcessorPil(size={"longest_edge": 60}, pad_size={"height": 64, "width": 64},
                                                  resample=3, image_mean=[0.5, 0.4, 0.3])
    transformers.SamProcessor(image_processor=processor).save_pretrained(folder)
    model, got = block(run, folder)
    run.checks.check("SAM within its processor's file", (got["size"], got["pad"], got["filter"], got["mean"]) == (
        60, [64, 64], "bicubic", [0.5, 0.4, 0.3]), got)
    for path in pictures(run):
        same_pixels(run, "SAM within its processor's file", model, processor, path)


def segment_anything(run):
    """Of its own keys: its ResizeLongestSide, and the constants of its model. timm's keys say nothing of pictures."""
    model = reseed(timm.create_model("samvit_base_patch16", num_classes=0, img_size=64, patch_size=8, embed_dim=64,
                                     depth=2, num_heads=4, window_size=3, global_attn_indexes=[1], neck_chans=24), 6)
    state = {"image_encoder." + name.replace("mlp.fc", "mlp.lin"): value for name, value in model.state_dict().items()}
    path = run.path(".safetensors")
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    want = {"resize": "longest", "size": 64, "filter": "bilinear", "pad": [64, 64], "arithmetic": "torchvision", "rescale": 1,
            "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
    got = block(run, path)[1]
    run.checks.check("segment-anything", got == want, got)
    got = block(run, path, "--image-size", "48x72")[1]
    run.checks.check("segment-anything at another size", got == want | {"size": [48, 72], "pad": [48, 72]}, got)
    run.checks.check("timm's keys: unknown", block(run, run.state(model))[1] is None)


def yolos(run):
    config = transformers.YolosConfig(**TINY, intermediate_size=48, image_size=[96, 128], patch_size=16, num_detection_tokens=3)
    folder = run.transformers_folder(reseed(transformers.YolosForObjectDetection(config), 2))
    _, got = block(run, folder)
    want = {"resize": "limited", "size": [800, 1333], "filter": "bilinear", "multiple": 16, "arithmetic": "transformers",
            "rescale": 1 / 255, "mean": IMAGENET[0], "std": IMAGENET[1]}
    run.checks.check("YOLOS without a file", got == want, got)
    for size, longest in (("96x128", 150), ("128x96", 150), ("96x96", 150), ("80x128", 140)):
        processor = transformers.YolosImageProcessorPil(size={"shortest_edge": 96, "longest_edge": longest})
        processor.save_pretrained(folder)
        model, got = block(run, folder, "--image-size", size)
        run.checks.check(f"YOLOS, {size} of {longest}", got == want | {"size": [96, longest]}, got)
        for path in pictures(run):
            same_pixels(run, f"YOLOS, {size} of {longest}", model, processor, path)
    (folder / "preprocessor_config.json").write_text('{"feature_extractor_type": "YolosFeatureExtractor", "size": 96}')
    run.checks.check("YOLOS, an older file", block(run, folder)[1] == want | {"size": [96, 1333]})


def depth_anything(run):
    backbone = transformers.Dinov2Config(**TINY | dict(num_hidden_layers=4), mlp_ratio=2, image_size=70, patch_size=14,
                                         out_indices=[1, 2, 3, 4], apply_layernorm=True, reshape_hidden_states=False)
    config = transformers.DepthAnythingConfig(backbone_config=backbone, patch_size=14, reassemble_hidden_size=32,
                                              neck_hidden_sizes=[8, 8, 16, 16], fusion_hidden_size=16, head_hidden_size=8)
    folder = run.transformers_folder(reseed(transformers.DepthAnythingForDepthEstimation(config), 3))
    run.checks.check("Depth Anything without a file: unknown", block(run, folder)[1] is None)
    options = dict(size={"height": 70, "width": 70}, ensure_multiple_of=14, image_mean=IMAGENET[0], image_std=IMAGENET[1])
    processor = transformers.DPTImageProcessorPil(keep_aspect_ratio=True, **options)
    processor.save_pretrained(folder)
    want = {"resize": "keep_aspect", "size": [70, 70], "filter": "bicubic", "multiple": 14, "arithmetic": "transformers",
            "rescale": 1 / 255, "mean": IMAGENET[0], "std": IMAGENET[1]}
    for size in ("70x98", "98x70", "70x70"):
        model, got = block(run, folder, "--image-size", size)
        run.checks.check(f"Depth Anything, {size}", got == want, got)
        for path in pictures(run):
            same_pixels(run, f"Depth Anything, {size}", model, processor, path)
    processor = transformers.DPTImageProcessorPil(**options | dict(size={"height": 73, "width": 66}))
    processor.save_pretrained(folder)
    model, got = block(run, folder)
    run.checks.check("Depth Anything, rounded to multiples", (got["resize"], got["size"]) == ("exact", [70, 70]), got)
    for path in pictures(run)[:2]:
        same_pixels(run, "Depth Anything, rounded to multiples", model, processor, path)
    transformers.DPTImageProcessorPil(do_pad=True, size_divisor=32).save_pretrained(folder)
    run.checks.check("Depth Anything, padded to a divisor: unknown", block(run, folder)[1] is None)


def vitdet(run):
    config = transformers.VitDetConfig(**TINY, image_size=64, pretrain_image_size=64, patch_size=8)
    folder = run.transformers_folder(reseed(transformers.VitDetModel(config), 4))
    run.checks.check("ViTDet without a file: unknown", block(run, folder)[1] is None)
    (folder / "preprocessor_config.json").write_text('{"image_processor_type": "VitMatteImageProcessor", "size_divisor": 32}')
    run.checks.check("ViTDet, another class: unknown", block(run, folder)[1] is None)
    transformers.SamImageProcessorPil().save_pretrained(folder)
    got = block(run, folder)[1]
    run.checks.check("ViTDet, SAM's processor", (got["resize"], got["size"], got["pad"]) == ("longest", 64, [64, 64]), got)


def broken(run):
    folder = run.transformers_folder(sam_model(64, 5))
    sam = {"image_processor_type": "SamImageProcessor"}
    vit = {"image_processor_type": "ViTImageProcessor"}
    cases = (
        ("size", sam | {"size": {"height": 64, "width": 64}}), ("size", sam | {"size": {"longest_edge": 0}}),
        ("size", sam | {"size": {"longest_edge": "64"}}), ("pad_size", sam | {"pad_size": {"height": 64, "width": 1024}}),
        ("pad_size", sam | {"pad_size": 1024}), ("do_pad", sam | {"do_pad": "yes"}), ("do_resize", sam | {"do_resize": False}),
        ("do_center_crop", sam | {"do_center_crop": True}),
        ("size", vit | {"size": {"shortest_edge": 224, "longest_edge": 300}}), ("size", vit | {"size": {"longest_edge": 224}}),
        ("pad_size", vit | {"do_pad": True, "pad_size": {"height": 300, "width": 300}}),
        ("size", {"image_processor_type": "YolosImageProcessor", "size": {"shortest_edge": 800}}),
        ("ensure_multiple_of", {"image_processor_type": "DPTImageProcessor", "ensure_multiple_of": 10000}),
        ("ensure_multiple_of", {"image_processor_type": "DPTImageProcessor", "ensure_multiple_of": 0}),
    )  # fmt: skip
    for key, says in cases:
        for name, text in (("preprocessor_config.json", says), ("processor_config.json", {"image_processor": says})):
            (folder / name).write_text(json.dumps(text))
            target = run.path(".json")
            result = subprocess.run([support.VITC, "import", folder, "-o", target], capture_output=True, text=True)
            lines = [line for line in result.stderr.splitlines() if f"{name}: " in line and key in line and "expected" in line]
            refused = result.returncode == 3 and len(lines) == 1 and not target.exists()
            run.checks.check(f"rejects {text}", refused, result.stderr.strip())
            (folder / name).unlink()


PARTS = (sam, segment_anything, yolos, depth_anything, vitdet, broken)


if __name__ == "__main__":
    run_parts(__doc__, PARTS)
