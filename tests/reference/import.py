"""Imports of models with the keys of timm, transformers, torchvision and vit_model.py, against those frameworks' own outputs.

    import.py [--vitc PATH] [--compiled] [--only PART]

Every model is small, with seeded weights that have outliers and no symmetry; a folder or a state dict of it is imported, run by
the interpreter (with --compiled by the compiled object, too) and compared with the framework's output. Then position tables of
other image sizes in each dialect, and preprocessing."""

import json
import subprocess

import support
from make_vits import (SMALL, Importer, VisionTransformer, pixels, reseed, run_parts, torchvision_state, transformers_config,
                       transformers_output)

import numpy as np
import timm
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

# ---- timm


def timm_models(run):
    cases = {
        "tiny": ("vit_tiny_patch16_224", {}),
        "no QKV bias": ("vit_tiny_patch16_224", dict(qkv_bias=False)),
        "mean pooling": ("vit_tiny_patch16_224", dict(global_pool="avg")),
        "mean pooling, norm before": ("vit_tiny_patch16_224", dict(global_pool="avg", fc_norm=False)),
        "mean pooling with the class token": ("vit_tiny_patch16_224", dict(global_pool="avg", pool_include_prefix=True)),
        "no class token": ("vit_tiny_patch16_224", dict(global_pool="avg", class_token=False)),
        "no position of the class token": ("vit_tiny_patch16_224", dict(no_embed_class=True)),
        "layer scale": ("vit_tiny_patch16_224", dict(init_values=0.1)),
        "0 classes": ("vit_tiny_patch16_224", dict(num_classes=0)),
        "0 classes, mean pooling": ("vit_tiny_patch16_224", dict(num_classes=0, global_pool="avg")),
        "one class": ("vit_tiny_patch16_224", dict(num_classes=1)),
        "hidden 100, heads of 20, MLP 333": ("vit_tiny_patch16_224", dict(embed_dim=100, num_heads=5, mlp_ratio=3.335)),
        "rectangular": ("vit_tiny_patch16_224", dict(img_size=(40, 24))),
        "rectangular patches": ("vit_tiny_patch16_224", dict(img_size=(32, 48), patch_size=(8, 16))),
        "image that is no multiple of the patch": ("vit_tiny_patch16_224", dict(img_size=37)),
        "one channel": ("vit_tiny_patch16_224", dict(in_chans=1)),
        "DeiT": ("deit_tiny_patch16_224", {}),
        "DeiT distilled": ("deit_tiny_distilled_patch16_224", {}),
        "DeiT distilled, 0 classes": ("deit_tiny_distilled_patch16_224", dict(num_classes=0)),
        "ReLU": ("vit_tiny_patch16_224", dict(act_layer="relu")),
    }
    for seed, (name, (arch, args)) in enumerate(cases.items()):
        args = SMALL | args
        model = reseed(timm.create_model(arch, **args), seed)
        size = args["img_size"] if isinstance(args["img_size"], tuple) else (args["img_size"],) * 2
        x = pixels(*size, seed, args.get("in_chans", 3))
        folder = run.timm_folder(model)
        run.same(f"timm folder: {name}", folder, model(x), x)


# Archs that no size and style make: heads, MLP and all else by the name alone
NAMED = ("vit_wee_patch16_reg1_gap_256", "vit_little_patch16_reg4_gap_256", "vit_small_patch16_36x1_224",
         "vit_medium_patch16_gap_256", "vit_mediumd_patch16_reg4_gap_384", "vit_betwixt_patch16_reg4_gap_384",
         "vit_base_patch16_gap_224", "vit_base_patch16_reg4_gap_256", "vit_base_patch16_224_miil", "vit_base_patch16_plus_240",
         "vit_base_patch16_plus_clip_240", "vit_so150m_patch16_reg4_gap_256", "vit_so150m_patch16_reg4_map_256",
         "vit_so150m2_patch16_reg1_gap_448", "vit_intern300m_patch14_448", "eva_large_patch14_196", "flexivit_small",
         "vit_base_patch14_reg1_tipsv2")
REFUSED = ("vit_pwee_patch16_reg1_gap_256", "vit_dpwee_patch16_reg1_gap_256", "vit_dwee_patch16_reg1_gap_256",
           "vit_dlittle_patch16_reg1_gap_256", "vit_small_patch16_18x2_224", "vit_base_patch16_xp_224",
           "vit_base_patch16_rpn_224", "vit_base_patch16_radio_v3", "aimv2_large_patch14_224", "beit3_base_patch16_224",
           "test_vit4")


def timm_named(run):
    for seed, name in enumerate(NAMED):
        patch = 14 if "patch14" in name else 16
        model = reseed(timm.create_model(name, depth=1, img_size=(2 * patch, 3 * patch), num_classes=5), 30 + seed)
        x = pixels(2 * patch, 3 * patch, seed)
        run.same(f"timm folder: {name}", run.timm_folder(model), model(x), x)
    for seed, name in enumerate(("test_vit", "test_vit2", "test_vit3")):
        model = reseed(timm.create_model(name), 50 + seed)
        x = pixels(160, 160, seed)
        run.same(f"timm state dict: {name}", run.state(model), model(x), x, "--arch", name)
    model = reseed(timm.create_model("vit_wee_patch16_reg1_gap_256"), 53)
    x = pixels(256, 256)[:1]
    run.same("timm state dict: registers and mean pooling, told by the tensors", run.state(model), model(x), x)
    flexible = reseed(timm.create_model("flexivit_small", depth=1, num_classes=5), 54)
    wanted = timm.create_model("flexivit_small", depth=1, img_size=(96, 320))
    state = timm.models.vision_transformer.checkpoint_filter_fn(flexible.state_dict(), wanted, interpolation="bilinear",
                                                                antialias=False)
    imported = run.import_model(run.timm_folder(flexible), "--image-size", "96x320")
    got = load_file(imported.with_suffix(".safetensors"))["pos_embed"]
    run.checks.close("position table, flexivit_small to 96x320", got, state["pos_embed"].detach(), TABLE_TOLERANCE)
    for name in REFUSED:
        command = [support.VITC, "import", "--init", "random", "--arch", name, "-o", run.path(".json")]
        result = subprocess.run(command, capture_output=True, text=True)
        told = f"vitc: {name} is not supported: " in result.stderr and result.stderr.count("\n") == 1
        run.checks.check(f"rejects {name}", result.returncode == 2 and told, result.stderr.strip())
    for name in ("vit_base_patch16_gap_224", "vit_dwee_patch16_reg1_gap_256"):
        state = run.state(timm.create_model(name, img_size=32), torch.bfloat16)
        result = subprocess.run([support.VITC, "import", state, "-o", run.path(".json")], capture_output=True, text=True)
        reason = "give --arch" if "base" in name else "blocks.0.attn.lambda_"
        run.checks.check(f"rejects the tensors of {name}", result.returncode == 3 and reason in result.stderr,
                         result.stderr.strip())


def timm_full_size(run):
    for arch in ("vit_tiny_patch16_224.augreg_in21k_ft_in1k", "deit_tiny_distilled_patch16_224.fb_in1k"):
        model = reseed(timm.create_model(arch, depth=12), 5)
        x = pixels(224, 224)
        run.same(f"timm state dict: {arch}", run.state(model), model(x), x, "--arch", arch)
        run.same(f"timm state dict, arch told by the tensors: {arch}", run.state(model), model(x), x)
    model = reseed(timm.create_model("vit_tiny_patch16_384", num_classes=11), 6)
    x = pixels(384, 384)
    run.same("timm state dict: 384 pixels, 11 classes", run.state(model), model(x), x, "--arch", "vit_tiny_patch16_384")


def timm_state_dicts(run):
    spec = "vit:dim=64,depth=2,heads=4,patch=8,image=32"
    model = reseed(timm.create_model("vit_tiny_patch16_224", **SMALL), 7)
    x = pixels(32, 32)
    run.same("spec", run.state(model), model(x), x, "--arch", spec)
    for dtype in (torch.float16, torch.bfloat16):
        path = run.state(model, dtype)
        rounded = reseed(timm.create_model("vit_tiny_patch16_224", **SMALL), 7)
        rounded.load_state_dict({name: value.float() for name, value in load_file(path).items()})
        run.same(f"spec, {dtype}", path, rounded(x), x, "--arch", spec)
    features = reseed(timm.create_model("vit_tiny_patch16_224", **SMALL), 7)
    path = run.state(features)
    features.reset_classifier(0)
    run.same("--num-classes 0 drops the head", path, features(x), x, "--arch", spec, "--num-classes", 0)
    for attention in [block.attn for block in model.blocks]:
        attention.fused_attn, attention.scale = False, 0.3
    run.same("QK scale", run.state(model), model(x), x, "--arch", spec + ",qk_scale=0.3")


def drawn(key, seed, shape, mean, deviation):
    """The generator of --init random again, in NumPy: splitmix64 over a counter, four 16-bit uniforms summed."""

    def mix(x):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))

    name = 0xCBF29CE484222325
    for byte in key.encode():
        name = (name ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        start = mix(np.array([name], np.uint64) ^ mix(np.array([seed], np.uint64)))
        bits = mix(start + np.arange(np.prod(shape), dtype=np.uint64))
    total = sum(((bits >> np.uint64(16 * i)) & np.uint64(0xFFFF)).astype(np.int64) for i in range(4)) - 2 * 0xFFFF
    return (mean + deviation * np.sqrt(3.0) / 65536 * total).astype(np.float32).reshape(shape)


def random_weights(run):
    """The drawn weights, loaded into timm, answer as the import does."""
    names = ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "vit_small_patch32_224"]
    for name in names:
        path = run.import_model(None, "--init", "random", "--seed", 3, "--arch", name)
        model = timm.create_model(name).eval()
        model.load_state_dict(load_file(path.with_suffix(".safetensors")))
        x = pixels(224, 224)
        answer = model(x)
        run.checks.close(f"--init random: {name}", run.output(path, x), answer)
        state = load_file(path.with_suffix(".safetensors"))
        for key, mean, deviation in (("blocks.3.mlp.fc2.weight", 0, state["blocks.3.mlp.fc2.weight"].shape[1] ** -0.5),
                                     ("head.bias", 0, 0.2), ("norm.weight", 1, 0.2), ("pos_embed", 0, 0.5)):
            want = drawn(key, 3, tuple(state[key].shape), mean, deviation)
            run.checks.close(f"--init random: {name}: {key} is the documented draw", state[key], want, 1e-6)
        again = run.import_model(None, "--init", "random", "--seed", 3, "--arch", name)
        other = run.import_model(None, "--init", "random", "--seed", 4, "--arch", name)
        blobs = [p.with_suffix(".safetensors").read_bytes() for p in (path, again, other)]
        run.checks.check(f"--init random: {name}: seed decides", blobs[0] == blobs[1] and blobs[0] != blobs[2])
        run.checks.check(f"--init random: {name}: answers differ by image", (answer[0] - answer[1]).std() > 0.05 * answer.std())
    full = "vit:dim=100,depth=2,heads=5,mlp=333,patch=16,image=224,classes=10,pool=mean,qkv_bias=0"
    path = run.import_model(None, "--init", "random", "--arch", full)
    model = timm.create_model("vit_tiny_patch16_224", embed_dim=100, depth=2, num_heads=5, mlp_ratio=3.335, num_classes=10,
                              global_pool="avg", qkv_bias=False).eval()
    model.load_state_dict(load_file(path.with_suffix(".safetensors")))
    x = pixels(224, 224)
    run.checks.close(f"--init random: {full}", run.output(path, x), model(x).detach())


# ---- vit_model.py


def vit_model_models(run):
    spec = "vit:dim=64,depth=2,heads=4,patch=8,image=32"
    cases = {
        "pre_logits": dict(representation_size=48),
        "pre_logits, 0 classes": dict(representation_size=48, num_classes=0),
        "no pre_logits": {},
        "distilled": dict(distilled=True),
        "no QKV bias, QK scale": dict(qkv_bias=False, qk_scale=0.25),
    }
    for seed, (name, args) in enumerate(cases.items()):
        model = reseed(VisionTransformer(**SMALL | args), 40 + seed)
        x = pixels(32, 32, seed)
        options = spec + (f",qk_scale={args['qk_scale']}" if "qk_scale" in args else "")
        run.same(f"vit_model.py: {name}", run.state(model), model(x), x, "--arch", options)
    for classes, representation in ((21843, 768), (5, None)):
        model = reseed(VisionTransformer(img_size=224, patch_size=32, embed_dim=768, depth=12, num_heads=12,
                                         num_classes=classes, representation_size=representation), 50)
        x = pixels(224, 224)[:1]
        arch = "vit_base_patch32_224_in21k"
        run.same(f"vit_model.py: {arch}, {classes} classes", run.state(model), model(x), x, "--arch", arch)


# ---- transformers


def transformers_models(run):
    vit, deit = transformers.ViTConfig, transformers.DeiTConfig
    cases = {
        "ViTForImageClassification": (transformers.ViTForImageClassification, vit, dict(num_labels=5), {}),
        "no QKV bias": (transformers.ViTForImageClassification, vit, dict(qkv_bias=False), {}),
        "epsilon 0.1": (transformers.ViTForImageClassification, vit, dict(layer_norm_eps=0.1), {}),
        "tanh GELU": (transformers.ViTForImageClassification, vit, dict(hidden_act="gelu_new"), {}),
        "heads of 20": (
            transformers.ViTForImageClassification, vit,
            dict(hidden_size=100, num_attention_heads=5, intermediate_size=333), {}),
        "ViTModel with pooler": (transformers.ViTModel, vit, {}, {}),
        "ViTModel, pooler of 24": (transformers.ViTModel, vit, dict(pooler_output_size=24), {}),
        "ViTModel without pooler": (transformers.ViTModel, vit, {}, dict(add_pooling_layer=False)),
        "DeiTForImageClassification": (transformers.DeiTForImageClassification, deit, dict(num_labels=5), {}),
        "DeiTForImageClassificationWithTeacher": (
            transformers.DeiTForImageClassificationWithTeacher, deit, dict(num_labels=5), {}),
        "DeiTModel": (transformers.DeiTModel, deit, {}, {}),
    }
    for seed, (name, (model_class, config, args, extra)) in enumerate(cases.items()):
        model = reseed(model_class(transformers_config(config, **args), **extra), 60 + seed)
        x = pixels(32, 32, seed)
        run.same(f"transformers: {name}", run.transformers_folder(model), transformers_output(model, x), x)
    model = reseed(transformers.ViTForImageClassification(transformers_config(vit, num_labels=5)), 80)
    folder = run.transformers_folder(model, max_shard_size="60KB")
    run.checks.check("transformers: more than one shard", len(list(folder.glob("*.safetensors"))) > 1)
    run.same("transformers: shards", folder, transformers_output(model, x), x)
    labels = json.loads(run.import_model(folder).read_text())["labels"]
    run.checks.check("transformers: labels", labels == [model.config.id2label[i] for i in range(5)], labels)
    state = run.folder / "plain.safetensors"
    save_file(model.state_dict(), state)
    spec = "vit:dim=64,depth=2,heads=4,mlp=96,patch=8,image=32"
    run.same("transformers: state dict of a module in memory", state, transformers_output(model, x), x, "--arch", spec)


# ---- torchvision


def torchvision_models(run):
    model = reseed(timm.create_model("vit_base_patch32_224", depth=12), 90)
    state = torchvision_state(model)
    x = pixels(224, 224)[:2]
    path = run.path(".safetensors")
    save_file(state, path)
    run.same("torchvision keys: vit_b_32", path, model(x), x, "--arch", "vit_b_32")
    older = {name.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2"): value for name, value in state.items()}
    path = run.path(".safetensors")
    save_file(older, path)
    run.same("torchvision keys: older MLP names", path, model(x), x)


# ---- position tables

# PyTorch's float32 tables are themselves up to 6e-6 from its float64 ones.
TABLE_TOLERANCE = 5e-6
SIZES = ((32, 32), (48, 48), (64, 32), (24, 56), (16, 16), (8, 40), (96, 64))


def position_tables(run):
    timm_model = reseed(timm.create_model("vit_tiny_patch16_224", **SMALL), 100)
    distilled = reseed(timm.create_model("deit_tiny_distilled_patch16_224", **SMALL), 101)
    vit = reseed(transformers.ViTForImageClassification(transformers_config(transformers.ViTConfig)), 102)
    deit = reseed(transformers.DeiTForImageClassificationWithTeacher(transformers_config(transformers.DeiTConfig)), 103)
    sources = {model: run.timm_folder(model) for model in (timm_model, distilled)}
    sources |= {model: run.transformers_folder(model) for model in (vit, deit)}
    for height, width in SIZES:
        size = f"{height}x{width}"
        x = pixels(height, width)
        for name, arch, model in (("timm", "vit_tiny_patch16_224", timm_model),
                                  ("timm distilled", "deit_tiny_distilled_patch16_224", distilled)):
            wanted = timm.create_model(arch, **SMALL | dict(img_size=(height, width))).eval()
            state = timm.models.vision_transformer.checkpoint_filter_fn(model.state_dict(), wanted)
            wanted.load_state_dict(state)
            run.same(f"position table, {name}: {size}", sources[model], wanted(x), x, "--image-size", size)
        for name, model in (("transformers", vit), ("transformers distilled", deit)):
            want = transformers_output(model, x, interpolate_pos_encoding=True)
            run.same(f"position table, {name}: {size}", sources[model], want, x, "--image-size", size)
    torchvision_tables(run, timm_model)
    to_rectangles(run)


def torchvision_tables(run, model):
    path = run.path(".safetensors")
    state = torchvision_state(model)
    save_file(state, path)
    table = state["encoder.pos_embedding"]
    grid = table[:, 1:].reshape(1, 4, 4, -1).permute(0, 3, 1, 2)
    for height, width in SIZES + ((8, 8),):
        resized = F.interpolate(grid, (height // 8, width // 8), mode="bicubic", align_corners=True)
        want = torch.cat([table[:, :1], resized.permute(0, 2, 3, 1).flatten(1, 2)], 1)
        imported = run.import_model(path, "--arch", "vit:dim=64,depth=2,heads=4,patch=8,image=32", "--image-size",
                                    f"{height}x{width}")
        got = load_file(imported.with_suffix(".safetensors"))["encoder.pos_embedding"]
        run.checks.close(f"position table, torchvision: {height}x{width}", got, want, TABLE_TOLERANCE)


def to_rectangles(run):
    """Real sizes: 224 to 384 and to a rectangle, table against table."""
    for arch, size in (("vit_tiny_patch16_224", (384, 384)), ("vit_tiny_patch16_384", (224, 224)),
                       ("vit_tiny_patch16_224", (240, 480))):
        model = reseed(timm.create_model(arch, depth=1), 110)
        wanted = timm.create_model(arch, depth=1, img_size=size)
        want = timm.models.vision_transformer.checkpoint_filter_fn(model.state_dict(), wanted)["pos_embed"]
        imported = run.import_model(run.timm_folder(model), "--image-size", "%dx%d" % size)
        got = load_file(imported.with_suffix(".safetensors"))["pos_embed"]
        run.checks.close(f"position table, {arch} to {size}", got, want.detach(), TABLE_TOLERANCE)


# ---- preprocessing


def preprocessing(run):
    def block(source, *options):
        return json.loads(run.import_model(source, *options).read_text())["preprocess"]

    model = reseed(timm.create_model("deit_tiny_patch16_224", **SMALL | dict(img_size=48)), 120)
    folder = run.timm_folder(model)
    got = block(folder)
    want = timm.data.resolve_model_data_config(timm.create_model(f"local-dir:{folder}"))
    transform = timm.data.create_transform(**want, is_training=False)
    got = (got["size"], got["crop"], got["filter"], got["mean"], got["std"])
    want = (transform.transforms[0].size, list(want["input_size"][1:]), want["interpolation"], list(want["mean"]),
            list(want["std"]))
    run.checks.check("preprocess, timm folder", got == want, f"{got}, wanted {want}")
    model = reseed(transformers.DeiTForImageClassification(transformers_config(transformers.DeiTConfig, image_size=224)), 121)
    folder = run.transformers_folder(model)
    run.checks.check("preprocess, transformers without a processor: unknown", "preprocess" not in json.loads(
        run.import_model(folder).read_text()))
    transformers.DeiTImageProcessorPil(resample=3, size={"height": 256, "width": 250}).save_pretrained(folder)
    got = block(folder)
    run.checks.check("preprocess, transformers folder", (got["size"], got["crop"], got["filter"], got["arithmetic"]) == (
        [256, 250], [224, 224], "bicubic", "transformers"), got)
    got = block(folder, "--image-size", "384x384")
    run.checks.check("preprocess, another image size", (got["size"], got["crop"]) == ([438, 428], [384, 384]), got)
    processor_classes(run, block)
    for arch, size, crop, mean in (("vit_tiny_patch16_224", 248, 224, 0.5), ("vit_tiny_patch16_384", 384, 384, 0.5),
                                   ("deit_tiny_patch16_224", 248, 224, 0.485), ("vit_b_32", 256, 224, 0.485),
                                   ("vit_base_patch32_224_in21k", 256, 224, 0.5)):
        got = block(None, "--init", "random", "--arch", arch)
        run.checks.check(f"preprocess, {arch}", (got["size"], got["crop"], got["mean"][0]) == (size, [crop, crop], mean), got)


def processor_classes(run, block):
    """Files that say nothing but their class, and the older single numbers for sizes: as that class has it."""
    model = transformers.ViTModel(transformers_config(transformers.ViTConfig, image_size=224))
    folder = run.transformers_folder(reseed(model, 122))
    filters = {2: "bilinear", 3: "bicubic"}
    for name in ("ViT", "DeiT", "Beit", "Bit", "CLIP", "Siglip"):
        processor = getattr(transformers, f"{name}ImageProcessorPil")()
        shortest = processor.size.get("shortest_edge")
        size = shortest or [processor.size["height"], processor.size["width"]]
        crop = [processor.crop_size["height"], processor.crop_size["width"]] if processor.do_center_crop else None
        want = ("shortest" if shortest else "exact", size, crop, filters[int(processor.resample)], list(processor.image_mean))
        for older in (False, True):
            says = {"image_processor_type": f"{name}ImageProcessor"}
            if older:
                says = {"feature_extractor_type": f"{name}FeatureExtractor", "size": shortest or processor.size["height"]}
            (folder / "preprocessor_config.json").write_text(json.dumps(says))
            got = block(folder)
            got = (got["resize"], got["size"], got.get("crop"), got["filter"], got["mean"])
            label = f"preprocess, {name}, {'older file' if older else 'class alone'}"
            run.checks.check(label, got == want, f"{got}, wanted {want}")


PARTS = (timm_models, timm_named, timm_state_dicts, timm_full_size, random_weights, vit_model_models, transformers_models,
         torchvision_models, position_tables, preprocessing)


if __name__ == "__main__":
    run_parts(__doc__, PARTS)
