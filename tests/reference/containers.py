"""ViT, DeiT, DINOv2 and CLIP in every container of weights: .pth as zip and legacy, one safetensors file and shards. The import
writes the same bytes from each, and families.py compares these with the frameworks.

    containers.py [--vitc PATH] [--only PART]"""

import families_vit
from folders import FORMS, graph_and_blob
from make_vits import SMALL, reseed, run_parts, transformers_config

import timm
import torch
import transformers as t


def state_dicts(run):
    def model(arch, seed, **args):
        return reseed(timm.create_model(arch, **SMALL | args), seed)

    clip = families_vit.open_clip_state(model("vit_base_patch16_clip_quickgelu_224", 403))
    sources = {
        "ViT": (model("vit_tiny_patch16_224", 400).state_dict(), ""),
        "DeiT": (model("deit_tiny_distilled_patch16_224", 401).state_dict(), ""),
        "DINOv2": (families_vit.original_dinov2(model("vit_small_patch14_dinov2", 402, num_classes=0).state_dict(), False), ""),
        "CLIP": (clip, ",epsilon=1e-5,activation=quick_gelu"),
    }
    for name, (state, more) in sources.items():
        options = ("--arch", families_vit.SPEC + more)
        want = graph_and_blob(run, families_vit.save(run, state), *options)
        for form, how in FORMS.items():
            for what, checkpoint in {"": state, " in model": {"model": state, "epoch": 3}}.items():
                path = run.path(".pth")
                torch.save(checkpoint, path, **how)
                run.checks.check(f"{name}, .pth, {form}{what}", graph_and_blob(run, path, *options) == want)


def folders(run):
    sources = {
        "ViT": t.ViTModel(transformers_config(t.ViTConfig)),
        "DeiT": t.DeiTForImageClassificationWithTeacher(transformers_config(t.DeiTConfig, num_labels=5)),
        "DINOv2": t.Dinov2ForImageClassification(transformers_config(t.Dinov2Config, mlp_ratio=2, num_labels=5)),
        "CLIP": t.CLIPVisionModelWithProjection(transformers_config(t.CLIPVisionConfig, projection_dim=24)),
    }
    for seed, (name, model) in enumerate(sources.items()):
        reseed(model, 410 + seed)
        whole, parts = run.transformers_folder(model), run.transformers_folder(model, max_shard_size="60KB")
        run.checks.check(f"{name}: more than one shard", len(list(parts.glob("*.safetensors"))) > 1)
        run.checks.check(f"{name}, shards", graph_and_blob(run, parts) == graph_and_blob(run, whole))


if __name__ == "__main__":
    run_parts(__doc__, (state_dicts, folders))
