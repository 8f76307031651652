"""Imports that must fail: tensors, sizes, specs and config files that do not fit, each with one line that names both sides.

    import_reject.py [--vitc PATH]"""

import argparse
import json
import os
import subprocess
import tempfile

import support
from support import Checks
from make_vits import SMALL, Importer, reseed, transformers_config

import timm
import torch
import transformers
from safetensors.torch import save_file

def failures(run):
    model = reseed(timm.create_model("vit_tiny_patch16_224", **SMALL), 130)
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    spec = "vit:dim=64,depth=2,heads=4,patch=8,image=32"

    def save(change):
        path = run.path(".safetensors")
        changed = dict(state)
        change(changed)
        save_file(changed, path)
        return path

    def rejects(name, expected, source, *options, status=3):
        target = run.path(".json")
        command = [support.VITC, "import", *([] if source is None else [source]), "-o", target, *map(str, options)]
        result = subprocess.run(command, capture_output=True, text=True)
        lines = [line for line in result.stderr.splitlines() if all(part in line for part in expected)]
        run.checks.check(f"rejects {name}", result.returncode == status and len(lines) == 1 and not target.exists(),
                         f"{result.returncode} {result.stderr.strip()}")

    rejects("a missing tensor", ["norm.bias", "[64]"], save(lambda s: s.pop("norm.bias")), "--arch", spec)
    rejects("another width", ["patch_embed.proj.weight", "[64, 3, 8, 8]", "[192, 3, 16, 16]"], save(dict.copy), "--arch",
            "vit_tiny_patch16_224")
    rejects("another depth", ["blocks.2.norm1.weight", "vit:dim=64,depth=3"], save(dict.copy), "--arch",
            spec.replace("depth=2", "depth=3"))
    rejects("another image size", ["pos_embed", "[1, 17, 64]", "[1, 37, 64]"], save(dict.copy), "--arch",
            spec.replace("image=32", "image=48"))
    rejects("another number of classes", ["head.weight", "[7, 64]", "9"], save(dict.copy), "--arch", spec, "--num-classes", 9)
    rejects("a size that is no multiple of the patch", ["44x32", "patch"], save(dict.copy), "--arch", spec, "--image-size",
            "44x32", status=2)
    norm = state["norm.weight"]
    rejects("NaN", ["norm.weight"], save(lambda s: s.update({"norm.weight": norm * float("nan")})), "--arch", spec)
    rejects("integers", ["norm.weight", "int64"], save(lambda s: s.update({"norm.weight": norm.long()})), "--arch", spec)
    rejects("unknown keys", ["patch_embed.proj.weight"], save(lambda s: (s.clear(), s.update(a=torch.ones(2)))), "--arch", spec)
    rejects("an unknown arch", ["vit_tny_patch16_224", "vit_tiny_patch16_224"], save(dict.copy), "--arch",
            "vit_tny_patch16_224", status=2)
    rejects("a width without a number of heads", ["give --arch", "vit:dim=64,depth=2,heads=N"], save(dict.copy))
    for bad in ("vit:dim=0", "vit:dim=100", "vit:dim", "vit:dimm=64", "vit:dim=64,dim=64", "vit:dim=64,pool=max",
                "vit:depth=9999", "vit:dim=99999999999999999999", "vit:dim=64,heads=5", "vit:class_token=0", "vit:image=224x",
                "vit:family=torchvision,distilled=1", "vit:family=transformers,layer_scale=1"):
        rejects(f"spec {bad}", ["vitc: ", bad[:8]], None, "--init", "random", "--arch", bad, status=2)
    command = [support.VITC, "import", save(lambda s: s.update(extra=torch.ones(2, 3))), "-o", run.path(".json")]
    unused = subprocess.run([*command, "--arch", spec, "--num-classes", "0"], capture_output=True, text=True)
    run.checks.check("names unused tensors", unused.returncode == 0 and "extra [2, 3]" in unused.stderr
                     and "head.weight [7, 64]" in unused.stderr, unused.stderr.strip())
    broken_configs(run, model, rejects)


def broken_configs(run, model, rejects):
    def timm_config(change):
        folder = run.timm_folder(model)
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    def transformers_folder(change):
        vit = transformers.ViTForImageClassification(transformers_config(transformers.ViTConfig, num_labels=5))
        folder = run.transformers_folder(vit)
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    for key, value in (("depth", "two"), ("depth", 2.5), ("depth", -1), ("num_heads", 0), ("num_heads", 7),
                       ("img_size", [1, 2, 3]), ("img_size", 10**9), ("act_layer", "prelu"),
                       ("global_pool", "max"), ("embed_dim", 1e300), ("qkv_bias", "no"), ("unheard_of", 1), ("mlp_ratio", -4)):
        rejects(f"timm model_args.{key} {value}", ["config.json", key],
                timm_config(lambda c, key=key, value=value: c["model_args"].update({key: value})))
    for key, value, tensor in (("reg_tokens", 4, "reg_token [1, 4, 64]"), ("global_pool", "map", "attn_pool.latent [1, 1, 64]"),
                               ("pre_norm", True, "norm_pre.weight [64]"), ("qk_norm", True, "blocks.0.attn.q_norm.weight [16]")):
        rejects(f"timm model_args.{key} {value} without the tensors", ["config.json", tensor],
                timm_config(lambda c, key=key, value=value: c["model_args"].update({key: value})))
    for key, value in (("crop_pct", 0), ("mean", [1, 2]), ("std", [0, 0, 0]), ("interpolation", "cubic"),
                       ("input_size", "large")):
        rejects(f"timm pretrained_cfg.{key} {value}", ["config.json", key],
                timm_config(lambda c, key=key, value=value: c["pretrained_cfg"].update({key: value})))
    rejects("timm without an architecture", ["config.json", "architecture"], timm_config(lambda c: c.pop("architecture")))
    rejects("timm of another architecture", ["config.json", "resnet50"],
            timm_config(lambda c: c.update(architecture="resnet50")))
    rejects("timm with other classes", ["head.weight", "[7, 64]", "[8, 64]"],
            timm_config(lambda c: (c.update(num_classes=8), c["model_args"].pop("num_classes"))))
    for key, value in (("hidden_size", "wide"), ("num_attention_heads", 5), ("hidden_act", "mish"), ("image_size", 0),
                       ("layer_norm_eps", -1), ("architectures", ["ViTForMaskedImageModeling"]), ("architectures", "ViTModel"),
                       ("model_type", "swin"), ("id2label", {"0": "a", "2": "b"}), ("qkv_bias", 1), ("patch_size", 64)):
        rejects(f"transformers {key} {value}", ["config.json", key if key != "patch_size" else "patch"],
                transformers_folder(lambda c, key=key, value=value: c.update({key: value})))
    rejects("transformers with another width", ["[64", "[128", "config.json"],
            transformers_folder(lambda c: c.update(hidden_size=128)))
    folder = transformers_folder(lambda c: None)
    (folder / "config.json").write_text('{"model_type": "vit", "model_type": "deit"}')
    rejects("a duplicate key", ["config.json", "model_type"], folder)
    (folder / "config.json").write_text("[" * 100000)
    rejects("deep nesting", ["config.json"], folder)
    os.remove(folder / "config.json")
    rejects("a folder without config.json", ["config.json"], folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vitc", default=support.VITC)
    support.VITC = parser.parse_args().vitc
    checks = Checks()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        checks.run("failures", failures, Importer(folder, checks, False))
    checks.finish()


if __name__ == "__main__":
    main()
