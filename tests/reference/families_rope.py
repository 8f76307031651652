"""Rows of families.py: models with rotary positions (EVA-02, DINOv3 and their like) and YOLOS."""

import copy

from family import Case, family
from make_vits import Importer, reseed

import timm
import torch
import transformers

SMALL = dict(embed_dim=48, depth=2, num_heads=2)
DINOV3 = dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=80, image_size=32, patch_size=8,
              num_register_tokens=4)


def timm_model(arch, seed, **args):
    """All tensors drawn, also biases that are no module's own."""
    return reseed(timm.create_model(arch, **SMALL | args), seed)


def resize(model, size):
    """The model at another size, with its tables resampled by timm."""
    other = copy.deepcopy(model)
    other.set_input_size(img_size=size)
    return other


def timm_case(run, name, arch, seed, size, other, **args):
    model = timm_model(arch, seed, **dict(img_size=size) | args)
    return Case(name, run.timm_folder(model), model, size, other, resize(model, other))


def state_case(run, name, arch, seed, edge, other, source, options=(), **args):
    """Tensors alone, of an arch in its own size."""
    model = reseed(timm.create_model(arch, img_size=edge, **args), seed)
    return Case(name, source(run, model), model, (edge, edge), other, resize(model, other), options=options)


def saved(run, model):
    path = run.path(".pth")
    torch.save({"state_dict": model.state_dict()}, path)
    return path


@family("EVA-02", "timm")
def eva02(run):
    yield timm_case(run, "joint projection", "eva02_tiny_patch14_224", 300, (42, 28), (28, 56), num_classes=5)
    yield timm_case(run, "norms in the MLP", "eva02_base_patch14_448.mim_in22k_ft_in22k_in1k", 301, (28, 28), (42, 56),
                    num_classes=5)
    yield timm_case(run, "CLIP tower", "eva02_base_patch16_clip_224", 302, (32, 32), (48, 32), num_classes=6)
    yield timm_case(run, "features", "eva02_tiny_patch14_224", 303, (42, 42), (28, 42), num_classes=0)
    yield state_case(run, ".pth", "eva02_tiny_patch14_224", 330, 56, (28, 42), saved, num_classes=5)


@family("EVA", "timm")
def eva(run):
    yield timm_case(run, "mean pooling", "eva_giant_patch14_224", 304, (42, 28), (28, 28), num_classes=5, mlp_ratio=3)
    yield timm_case(run, "post-norm", "eva02_enormous_patch14_clip_224", 305, (28, 28), (42, 28), num_classes=5, mlp_ratio=3)


@family("ViT with rotary positions", "timm")
def rope_vit(run):
    yield timm_case(run, "axial", "vit_small_patch16_rope_224", 306, (48, 32), (32, 64), num_classes=5)
    yield timm_case(run, "axial and learned", "vit_small_patch16_rope_ape_224", 307, (48, 32), (32, 64), num_classes=5)
    yield timm_case(run, "no class token", "vit_betwixt_patch16_rope_reg4_gap_256", 308, (48, 32), (32, 64), num_classes=5)


def original_state(run, model):
    """A .pth as the authors of DINOv3 save it: their names, keys with a masked bias, periods in bfloat16."""
    state = {}
    for name, value in model.state_dict().items():
        if name.endswith("q_bias"):
            parts = [value, torch.full_like(value, 3), model.state_dict()[name.replace("q_bias", "v_bias")]]
            block, one = name.removesuffix("q_bias"), torch.ones_like(value)
            state[block + "qkv.bias"] = torch.cat(parts)
            state[block + "qkv.bias_mask"] = torch.cat([one, 0 * one, one])
        elif not name.endswith("v_bias"):
            for old, new in (("reg_token", "storage_tokens"), ("gamma_1", "ls1.gamma"), ("gamma_2", "ls2.gamma"),
                             ("fc1_g", "w1"), ("fc1_x", "w2")):
                name = name.replace(old, new)
            state[name.replace("mlp.fc2", "mlp.w3") if hasattr(model.blocks[0].mlp, "fc1_g") else name] = value
    state["mask_token"] = torch.zeros(1, model.embed_dim)
    state["rope_embed.periods"] = model.rope.periods.bfloat16()
    path = run.path(".pth")
    torch.save(state, path)
    return path


class Keyed(torch.nn.Module):
    """transformers' model at any size, by its pooled output."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(pixel_values=x).pooler_output


class Named(Keyed):
    """In double precision: attention that is sharp shows float32's own error."""

    def forward(self, x):
        output = self.model(pixel_values=x.double(), output_attentions=True)
        return [output.last_hidden_state, output.attentions[0], output.pooler_output]


@family("DINOv3", "transformers, timm, original")
def dinov3(run):
    config = transformers.DINOv3ViTConfig(**DINOV3)
    model = Keyed(reseed(transformers.DINOv3ViTModel(config), 310))
    yield Case("transformers", run.transformers_folder(model.model), model, (32, 32), (48, 24))
    tame = reseed(transformers.DINOv3ViTModel(config), 316)
    for name, parameter in tame.named_parameters():
        if "q_proj" in name:
            parameter.mul_(0.25)
    folder = run.transformers_folder(tame)
    model = Named(transformers.DINOv3ViTModel.from_pretrained(folder, attn_implementation="eager").double())
    yield Case("several outputs", folder, model, (32, 32), (48, 24), options=("--output", "tokens,attention:0,pooler_output"))
    config = transformers.DINOv3ViTConfig(**DINOV3 | dict(use_gated_mlp=True, hidden_act="silu", key_bias=True, image_size=[40, 24]))
    model = Keyed(reseed(transformers.DINOv3ViTModel(config), 311))
    yield Case("transformers, gated", run.transformers_folder(model.model, max_shard_size="60KB"), model, (40, 24), (24, 56))
    yield timm_case(run, "timm", "vit_small_patch16_dinov3", 312, (48, 32), (32, 64))
    yield timm_case(run, "timm, gated, biases", "vit_small_plus_patch16_dinov3_qkvb", 313, (32, 32), (64, 48), num_classes=5,
                    global_pool="token")
    yield state_case(run, "original .pth", "vit_tiny_patch16_dinov3_qkvb", 314, 256, (48, 32), original_state, global_pool="token")
    yield state_case(run, ".safetensors", "vit_tiny_patch16_dinov3_qkvb", 315, 256, (32, 48), Importer.state,
                     ("--arch", "vit_tiny_patch16_dinov3_qkvb.lvd1689m"))


@family("YOLOS", "transformers")
def yolos(run):
    for name, seed, args in (("mid positions", 320, {}), ("first positions only", 323, dict(use_mid_position_embeddings=False))):
        config = transformers.YolosConfig(hidden_size=48, num_hidden_layers=3, num_attention_heads=3, intermediate_size=80,
                                          image_size=[32, 48], patch_size=8, num_detection_tokens=7, num_labels=4, **args)
        model = reseed(transformers.YolosForObjectDetection(config), seed)

        def answer(x, model=model):
            output = model(pixel_values=x)
            return [output.logits, output.pred_boxes]

        yield Case(name, run.transformers_folder(model), answer, (32, 48), (40, 24))
