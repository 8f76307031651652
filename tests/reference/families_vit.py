"""Rows of families.py: the plain ViT and its like, from timm, transformers, torchvision and the original checkpoints."""

import copy

from family import Case, family
from make_vits import SMALL, VisionTransformer, reseed, torchvision_state, transformers_config, transformers_output

import timm
import torch
import transformers as t
from safetensors.torch import save_file
from torch.nn import functional as F

SIZE, OTHER = (32, 32), (48, 24)
SPEC = "vit:dim=64,depth=2,heads=4,patch=8,image=32"


def filter_of(model):
    """timm's own conversion of checkpoints: also how it resizes tables."""
    return timm.models.beit.checkpoint_filter_fn if isinstance(model, timm.models.Beit) else \
        timm.models.vision_transformer.checkpoint_filter_fn


def resized_timm(arch, args, state, size):
    model = timm.create_model(arch, **args | dict(img_size=size)).eval()
    model.load_state_dict(filter_of(model)(dict(state), model))
    return model


def timm_model(arch, seed, **args):
    return reseed(timm.create_model(arch, **args), seed)


def timm_case(run, name, arch, seed, size=SIZE, other=OTHER, **args):
    """A timm folder. At another size timm resamples the tables of a checkpoint while it loads it."""
    args = SMALL | dict(img_size=size) | args
    model = timm_model(arch, seed, **args)
    return Case(name, run.timm_folder(model), model, size, other, resized_timm(arch, args, model.state_dict(), other))


def timm_state_case(run, name, arch, seed, spec=SPEC, **args):
    """A state dict of timm, which does not say what it is a model of but by its tensors and --arch."""
    args = SMALL | args
    model = timm_model(arch, seed, **args)
    other = resized_timm(arch, args, model.state_dict(), OTHER)
    return Case(name, run.state(model), model, SIZE, OTHER, other, ("--arch", spec))


def transformers_case(run, name, model, answer=transformers_output, resize=dict(interpolate_pos_encoding=True)):
    """A folder of transformers, whose models resample as they run."""
    return Case(name, run.transformers_folder(model), lambda x: answer(model, x), SIZE, OTHER,
                lambda x: answer(model, x, **resize))


def transformers_cases(run, seed, config_class, classes, answer=transformers_output, resize=dict(interpolate_pos_encoding=True),
                       **args):
    for i, model_class in enumerate(classes):
        model = reseed(model_class(transformers_config(config_class, **args)), seed + i)
        yield transformers_case(run, model_class.__name__, model, answer, resize)


def save(run, state):
    path = run.path(".safetensors")
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return path


def grid_of(table, prefix):
    side = int((table.shape[1] - prefix) ** 0.5)
    return table[:, prefix:].reshape(1, side, side, -1).permute(0, 3, 1, 2)


def with_grid(table, prefix, grid):
    return torch.cat([table[:, :prefix], grid.permute(0, 2, 3, 1).flatten(1, 2)], 1)


@family("ViT", "timm, transformers, torchvision")
def vit(run):
    yield timm_case(run, "timm", "vit_tiny_patch16_224", 200)
    yield timm_case(run, "timm, mean pooling", "vit_tiny_patch16_224", 201, global_pool="avg")
    yield timm_case(run, "timm, norms of queries and keys", "vit_tiny_patch16_224", 202, qk_norm=True)
    yield timm_case(run, "timm, registers", "vit_tiny_patch16_224", 303, reg_tokens=3)
    yield timm_case(run, "timm, attention pooling of the patches alone", "vit_tiny_patch16_224", 305, reg_tokens=2, global_pool="map")
    yield from transformers_cases(run, 204, t.ViTConfig, (t.ViTForImageClassification, t.ViTModel), num_labels=5)
    model = timm_model("vit_tiny_patch16_224", 206, **SMALL)
    table = model.pos_embed
    other = timm.create_model("vit_tiny_patch16_224", **SMALL | dict(img_size=OTHER)).eval()
    resized = F.interpolate(grid_of(table, 1), (OTHER[0] // 8, OTHER[1] // 8), mode="bicubic", align_corners=True)
    other.load_state_dict(model.state_dict() | {"pos_embed": with_grid(table, 1, resized)})
    yield Case("torchvision", save(run, torchvision_state(model)), model, SIZE, OTHER, other, ("--arch", SPEC))


@family("vit_model.py", "in21k and fine-tuned state dicts")
def vit_model(run):
    cases = {"pre_logits": dict(representation_size=48), "fine-tuned": dict(num_classes=5)}
    for seed, (name, args) in enumerate(cases.items()):
        model = reseed(VisionTransformer(**SMALL | args), 210 + seed)
        other = VisionTransformer(**SMALL | args).eval()
        state = model.state_dict()
        resized = timm.layers.resample_abs_pos_embed(state["pos_embed"], [6, 3])
        other.pos_embed = torch.nn.Parameter(resized)
        other.load_state_dict(state | {"pos_embed": resized})
        yield Case(name, run.state(model), model, SIZE, OTHER, other, ("--arch", SPEC))


@family("DeiT", "timm, transformers")
def deit(run):
    yield timm_case(run, "timm", "deit_tiny_distilled_patch16_224", 220)
    classes = (t.DeiTForImageClassificationWithTeacher, t.DeiTForImageClassification)
    yield from transformers_cases(run, 221, t.DeiTConfig, classes, num_labels=5)


@family("DeiT-3", "timm")
def deit3(run):
    yield timm_case(run, "timm", "deit3_small_patch16_224", 230)
    yield timm_state_case(run, "timm, state dict", "deit3_small_patch16_224", 231)
    model = timm_model("deit3_small_patch16_224", 232, **SMALL)
    state = {name.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2"): x for name, x in model.state_dict().items()}
    other = resized_timm("deit3_small_patch16_224", SMALL, model.state_dict(), OTHER)
    yield Case("original", save(run, state), model, SIZE, OTHER, other, ("--arch", SPEC))


def mae_output(model, x, **options):
    """All patches in their order: nothing is masked. In double precision: in single, PyTorch's own rounding is half of the bound."""
    noise = torch.arange(x.shape[2] * x.shape[3] // 64, dtype=torch.float32).expand(len(x), -1)
    wide = copy.deepcopy(model).double()
    return wide(pixel_values=x.double(), noise=noise, **options).last_hidden_state[:, 0]


@family("MAE", "transformers, timm, original")
def mae(run):
    config = transformers_config(t.ViTMAEConfig, mask_ratio=0.0, decoder_hidden_size=32, decoder_intermediate_size=48,
                                 decoder_num_attention_heads=2, decoder_num_hidden_layers=1)
    model = reseed(t.ViTMAEModel(config), 340)
    yield transformers_case(run, "ViTMAEModel", model, mae_output)
    whole = reseed(t.ViTMAEForPreTraining(config), 241)
    yield Case("ViTMAEForPreTraining", run.transformers_folder(whole), lambda x: mae_output(whole.vit, x), SIZE, OTHER,
               lambda x: mae_output(whole.vit, x, interpolate_pos_encoding=True))
    yield timm_case(run, "timm", "vit_tiny_patch16_224", 342, num_classes=0)
    args = SMALL | dict(num_classes=0)
    encoder = timm_model("vit_tiny_patch16_224", 243, **args)
    other = timm.create_model("vit_tiny_patch16_224", **args | dict(img_size=OTHER)).eval()
    table = F.interpolate(grid_of(encoder.pos_embed, 1), (6, 3), mode="bicubic", align_corners=False)
    other.load_state_dict(encoder.state_dict() | {"pos_embed": with_grid(encoder.pos_embed, 1, table)})
    decoder = {"mask_token": torch.ones(1, 1, 32), "decoder_embed.weight": torch.ones(32, 64),
               "decoder_embed.bias": torch.ones(32)}
    yield Case("original, with its decoder", save(run, encoder.state_dict() | decoder), encoder, SIZE, OTHER, other,
               ("--arch", SPEC))


def original_dinov2(state, registers):
    """timm's names as the original has them."""
    renames = {"mlp.fc1": "mlp.w12", "mlp.fc2": "mlp.w3", "reg_token": "register_tokens"} if registers else {}
    renamed = {}
    for name, x in state.items():
        for old, new in renames.items():
            name = name.replace(old, new)
        renamed[name] = x
    return renamed | {"mask_token": torch.zeros(1, 64)}


@family("DINOv2", "transformers, timm, original")
def dinov2(run):
    classes = (t.Dinov2Model, t.Dinov2ForImageClassification)
    yield from transformers_cases(run, 350, t.Dinov2Config, classes, resize={}, mlp_ratio=2, num_labels=5)
    model = reseed(t.Dinov2ForImageClassification(transformers_config(t.Dinov2Config, mlp_ratio=2)), 352)
    yield transformers_case(run, "Dinov2ForImageClassification of two classes without id2label", model, resize={})
    model = reseed(t.Dinov2Model(transformers_config(t.Dinov2Config, use_swiglu_ffn=True)), 252)
    yield transformers_case(run, "Dinov2Model with SwiGLU", model, resize={})
    yield timm_case(run, "timm", "vit_small_patch14_dinov2", 253, num_classes=0)
    yield timm_case(run, "timm, SwiGLU", "vit_giant_patch14_dinov2", 254, mlp_ratio=3)
    # facebookresearch/dinov2: bicubic by a scale of (rows + 0.1) / side, not by a size.
    args = SMALL | dict(num_classes=0)
    model = timm_model("vit_small_patch14_dinov2", 255, **args)
    other = timm.create_model("vit_small_patch14_dinov2", **args | dict(img_size=OTHER)).eval()
    table = F.interpolate(grid_of(model.pos_embed, 1), scale_factor=((6 + 0.1) / 4, (3 + 0.1) / 4), mode="bicubic")
    other.load_state_dict(model.state_dict() | {"pos_embed": with_grid(model.pos_embed, 1, table)})
    yield Case("original", save(run, original_dinov2(model.state_dict(), False)), model, SIZE, OTHER, other, ("--arch", SPEC))


@family("DINOv2 with registers", "transformers, timm, original")
def dinov2_registers(run):
    classes = (t.Dinov2WithRegistersModel, t.Dinov2WithRegistersForImageClassification)
    yield from transformers_cases(run, 260, t.Dinov2WithRegistersConfig, classes, resize={}, num_register_tokens=3,
                                  num_labels=5)
    model = reseed(t.Dinov2WithRegistersModel(transformers_config(t.Dinov2WithRegistersConfig, use_swiglu_ffn=True)), 362)
    yield transformers_case(run, "Dinov2WithRegistersModel with SwiGLU", model, resize={})
    yield timm_case(run, "timm", "vit_small_patch14_reg4_dinov2", 263)
    # The original has a row of positions for the class token, and none for registers. timm converts it.
    arch, args = "vit_giant_patch14_reg4_dinov2", SMALL | dict(num_classes=0, mlp_ratio=3)
    model = timm_model(arch, 264, **args)
    table = torch.randn(1, 17, 64, generator=torch.Generator().manual_seed(265))
    state = original_dinov2(model.state_dict() | {"pos_embed": table}, True)
    models = []
    for size in (SIZE, OTHER):
        grid = (size[0] // 8, size[1] // 8)
        resized = with_grid(table, 1, F.interpolate(grid_of(table, 1), grid, mode="bicubic", antialias=True))
        models.append(resized_timm(arch, args, state | {"pos_embed": resized}, size))
    yield Case("original, SwiGLU", save(run, state), models[0], SIZE, OTHER, models[1], ("--arch", SPEC + ",mlp=96"))


@family("BEiT", "transformers, timm")
def beit(run):
    classes = (t.BeitForImageClassification, t.BeitModel)
    yield from transformers_cases(run, 270, t.BeitConfig, classes, resize={}, use_relative_position_bias=True, num_labels=5)
    config = transformers_config(t.BeitConfig, use_shared_relative_position_bias=True, use_absolute_position_embeddings=True,
                                 use_mean_pooling=False, num_labels=5)
    model = reseed(t.BeitModel(config), 272)
    yield transformers_case(run, "BeitModel, shared biases, token pooling", model, resize={})
    yield timm_case(run, "timm", "beit_base_patch16_224", 273)
    yield timm_case(run, "timm, shared biases", "beit_base_patch16_224", 274, use_rel_pos_bias=False,
                    use_shared_rel_pos_bias=True)
    yield timm_state_case(run, "timm, state dict", "beitv2_base_patch16_224", 275, spec=SPEC + ",pool=mean")


def clip_model(seed):
    base = transformers_config(dict)
    config = t.CLIPConfig(vision_config=base, text_config=base | dict(vocab_size=9, eos_token_id=8, bos_token_id=0),
                          projection_dim=24)
    return reseed(t.CLIPModel(config), seed)


def image_embeds(model, x, **options):
    words = {} if isinstance(model, t.CLIPVisionModelWithProjection) else dict(input_ids=torch.arange(9).expand(len(x), -1))
    return model(pixel_values=x, **words, **options).image_embeds


def open_clip_state(model):
    """The names of OpenAI's CLIP and of open_clip for the tensors of timm's model: timm's conversion, backwards."""
    swaps = (("patch_embed.proj", "conv1"), ("pos_embed", "positional_embedding"), ("blocks.", "transformer.resblocks."),
             ("norm_pre", "ln_pre"), ("norm1", "ln_1"), ("norm2", "ln_2"), ("attn.qkv.", "attn.in_proj_"),
             ("attn.proj", "attn.out_proj"), ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"),
             ("cls_token", "class_embedding"))
    state = {}
    for name, x in model.state_dict().items():
        for old, new in swaps:
            name = name.replace(old, new)
        name = "ln_post" + name[4:] if name.startswith("norm.") else name
        if name == "head.bias":
            continue
        if name == "head.weight":
            name, x = "proj", x.T
        if name in ("class_embedding", "positional_embedding"):
            x = x.squeeze()
        state[f"visual.{name}"] = x
    return state


@family("CLIP", "transformers, timm, open_clip")
def clip(run):
    yield from transformers_cases(run, 280, t.CLIPVisionConfig, (t.CLIPVisionModel,))
    yield from transformers_cases(run, 281, t.CLIPVisionConfig, (t.CLIPVisionModelWithProjection,), image_embeds,
                                  projection_dim=24)
    yield transformers_case(run, "CLIPModel", clip_model(382), image_embeds)
    config = t.CLIPConfig(vision_config=transformers_config(dict), num_labels=5)
    model = reseed(t.CLIPForImageClassification(config), 283)
    yield transformers_case(run, "CLIPForImageClassification", model)
    yield timm_case(run, "timm", "vit_base_patch16_clip_224", 284)
    for seed, arch, activation in ((385, "vit_base_patch16_clip_quickgelu_224", "quick_gelu"),
                                   (286, "vit_base_patch16_clip_224", "gelu")):
        model = timm_model(arch, seed, **SMALL)
        model.head.bias.data.zero_()
        state = open_clip_state(model)
        other = resized_timm(arch, SMALL, model.state_dict(), OTHER)
        yield Case(f"open_clip, {activation}", save(run, state), model, SIZE, OTHER, other,
                   ("--arch", f"{SPEC},epsilon=1e-5,activation={activation}"))


@family("SigLIP", "transformers, timm")
def siglip(run):
    yield from transformers_cases(run, 290, t.SiglipVisionConfig, (t.SiglipVisionModel,))
    config = t.SiglipConfig(vision_config=transformers_config(dict), num_labels=5)
    yield transformers_case(run, "SiglipForImageClassification", reseed(t.SiglipForImageClassification(config), 291))
    base = transformers_config(dict)
    config = t.SiglipConfig(vision_config=base, text_config=base | dict(vocab_size=9, projection_size=64))
    yield transformers_case(run, "SiglipModel", reseed(t.SiglipModel(config), 292), image_embeds)
    yield timm_case(run, "timm", "vit_base_patch16_siglip_224", 293, num_classes=0)
    yield timm_case(run, "timm, tanh GELU", "vit_base_patch32_siglip_256", 294)
    yield timm_case(run, "timm, mean pooling", "vit_base_patch16_siglip_gap_224", 295)


@family("SigLIP2", "transformers, timm")
def siglip2(run):
    """The checkpoints of one image size, which are SigLIP's classes: tanh GELU, and heads of 72 in the so400m ones."""
    wide = dict(hidden_size=144, num_attention_heads=2, intermediate_size=269, hidden_act="gelu_pytorch_tanh", layer_norm_eps=1e-6)
    config = t.SiglipVisionConfig(**transformers_config(dict) | wide)
    yield transformers_case(run, "SiglipVisionModel", reseed(t.SiglipVisionModel(config), 296))
    config = t.SiglipConfig(vision_config=transformers_config(dict) | wide, num_labels=5)
    yield transformers_case(run, "SiglipForImageClassification", reseed(t.SiglipForImageClassification(config), 297))
    yield timm_case(run, "timm", "vit_base_patch16_siglip_224.v2_webli", 298, num_classes=0)


def logits_or(pooled):
    """What a classifier answers, or `pooled` of the tokens of a model without one."""

    def output(model, x, **options):
        result = model(pixel_values=x, **options)
        return result.logits if hasattr(result, "logits") else pooled(result.last_hidden_state)

    return output


@family("ViT-MSN", "transformers")
def vit_msn(run):
    classes = (t.ViTMSNForImageClassification, t.ViTMSNModel)
    yield from transformers_cases(run, 400, t.ViTMSNConfig, classes, logits_or(lambda tokens: tokens[:, 0]), num_labels=5)


@family("I-JEPA", "transformers")
def ijepa(run):
    """Its model has no pooled output; its classifier reads the mean."""
    classes = (t.IJepaForImageClassification, t.IJepaModel)
    yield from transformers_cases(run, 410, t.IJepaConfig, classes, logits_or(lambda tokens: tokens.mean(1)), num_labels=5)


@family("data2vec", "transformers")
def data2vec(run):
    classes = (t.Data2VecVisionForImageClassification, t.Data2VecVisionModel)
    yield from transformers_cases(run, 420, t.Data2VecVisionConfig, classes, resize={}, use_relative_position_bias=True,
                                  num_labels=5)
