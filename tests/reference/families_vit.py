"""Rows of families.py: ViT, DeiT and their like, from timm, transformers, torchvision and the original checkpoints."""

from family import Case, family
from make_vits import SMALL, reseed, transformers_config, transformers_output

import timm
import transformers

SIZE, OTHER = (32, 32), (48, 24)


def timm_case(run, name, arch, seed, size=SIZE, other=OTHER, **args):
    """A timm folder. At another size timm resamples the table of a checkpoint while it loads it."""
    args = SMALL | dict(img_size=size) | args
    model = reseed(timm.create_model(arch, **args), seed)
    resized = timm.create_model(arch, **args | dict(img_size=other)).eval()
    resized.load_state_dict(timm.models.vision_transformer.checkpoint_filter_fn(model.state_dict(), resized))
    return Case(name, run.timm_folder(model), model, size, other, resized)


def transformers_case(run, name, model, size=SIZE, other=OTHER, **options):
    """A folder of transformers, whose models resample as they run."""
    return Case(name, run.transformers_folder(model), lambda x: transformers_output(model, x), size, other,
                lambda x: transformers_output(model, x, interpolate_pos_encoding=True, **options))


@family("ViT", "timm, transformers")
def vit(run):
    yield timm_case(run, "timm", "vit_tiny_patch16_224", 200)
    yield timm_case(run, "timm, mean pooling", "vit_tiny_patch16_224", 201, global_pool="avg")
    config = transformers_config(transformers.ViTConfig, num_labels=5)
    yield transformers_case(run, "transformers", reseed(transformers.ViTForImageClassification(config), 202))
    yield transformers_case(run, "transformers, pooler", reseed(transformers.ViTModel(config), 203))


@family("DeiT", "timm, transformers")
def deit(run):
    yield timm_case(run, "timm", "deit_tiny_distilled_patch16_224", 210)
    config = transformers_config(transformers.DeiTConfig, num_labels=5)
    model = reseed(transformers.DeiTForImageClassificationWithTeacher(config), 211)
    yield transformers_case(run, "transformers", model)
