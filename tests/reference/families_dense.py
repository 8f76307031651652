"""Rows of families.py: encoders for dense prediction (windows, relative positions) and models with a convolutional head."""

import copy

from family import Case, family
from make_vits import pixels, reseed

import timm
import torch
import transformers

TINY = dict(hidden_size=64, num_hidden_layers=3, num_attention_heads=4, patch_size=8)


def reseed_dense(model, seed):
    """Absolute positions of rank 4 as strong as those of other tables, statistics of BatchNorm that are none's default, and
    scores of attention that leave more than one key a say: exp makes of an error in a score of 50 one as large as the bound."""
    model = reseed(model, seed)
    generator = torch.Generator().manual_seed(9000 + seed)
    for name, parameter in model.named_parameters():
        if "pos_embed" in name:
            parameter.data.copy_(0.6 * torch.randn(parameter.shape, generator=generator) + 0.05)
        if any(part in name for part in ("qkv.weight", "query.weight", "key.weight", "q_proj.weight", "k_proj.weight")):
            parameter.data.mul_(0.6)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(0.4 * torch.randn(buffer.shape, generator=generator) + 0.1)
        if name.endswith("running_var"):
            buffer.copy_(8 + 24 * torch.rand(buffer.shape, generator=generator))
    return model


def exact(model, answer=lambda output: output):
    """The framework in double precision: in single precision its own rounding can be half of the bound."""
    wide = copy.deepcopy(model).double()
    return lambda x: answer(wide(x.double()))


def last_hidden_state(output):
    return output.last_hidden_state


# ---- SAM


def sam_config(size, **args):
    return transformers.SamVisionConfig(**TINY | dict(image_size=size, mlp_dim=96, output_channels=24, window_size=3,
                                                      global_attn_indexes=[1]) | args)


def sam_vision(size, seed, **args):
    return reseed_dense(transformers.SamVisionModel(sam_config(size, **args)), seed)


def original_state(model):
    """The keys of segment-anything for those of timm."""
    return {"image_encoder." + name.replace("mlp.fc", "mlp.lin"): value for name, value in model.state_dict().items()}


class State(torch.nn.Module):
    """What Importer.state saves."""

    def __init__(self, state):
        super().__init__()
        self.state = state

    def state_dict(self):
        return self.state


@family("SAM's image encoder", "transformers, timm, segment-anything")
def sam(run):
    one_size = "SamVisionModel takes pictures of its image_size only"
    for size, window in ((64, 3), (40, 3), (48, 2)):
        model = sam_vision(size, 500 + size + window, window_size=window)
        yield Case(f"SamVisionModel of {size}, windows of {window}", run.transformers_folder(model),
                   exact(model, last_hidden_state), (size, size), fixed=one_size)
    model = sam_vision(64, 510, use_rel_pos=False, qkv_bias=False, hidden_act="gelu_new")
    yield Case("SamVisionModel without relative positions", run.transformers_folder(model),
               exact(model, last_hidden_state), (64, 64), fixed=one_size)
    vision = sam_config(64)
    prompt = dict(hidden_size=24, image_size=64, patch_size=8)
    decoder = dict(hidden_size=24, mlp_dim=32, num_attention_heads=2)
    config = transformers.SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    full = reseed_dense(transformers.SamModel(config), 511)
    yield Case("SamModel", run.transformers_folder(full), exact(full.vision_encoder, last_hidden_state), (64, 64),
               fixed=one_size)

    args = dict(img_size=64, patch_size=8, embed_dim=64, depth=3, num_heads=4, window_size=3, global_attn_indexes=[1],
                neck_chans=24)
    samvit = reseed_dense(timm.create_model("samvit_base_patch16", num_classes=0, **args), 520)
    yield Case("timm", run.timm_folder(samvit), exact(samvit), (64, 64), (48, 72))
    classifier = dict(args, neck_chans=None, num_classes=7, use_abs_pos=False)
    samvit_224 = reseed_dense(timm.create_model("samvit_base_patch16_224", **classifier), 521)
    yield Case("timm, classifier", run.timm_folder(samvit_224), exact(samvit_224), (64, 64), (80, 40))
    for layer in [*samvit.modules()]:
        if isinstance(layer, torch.nn.LayerNorm):
            layer.eps = 1e-6
    samvit.head = torch.nn.Identity()
    yield Case("segment-anything", run.state(State(original_state(samvit))), exact(samvit), (64, 64), (40, 64))


# ---- ViTDet


@family("ViTDet", "transformers")
def vitdet(run):
    base = TINY | dict(image_size=(64, 48), pretrain_image_size=48, mlp_ratio=2, window_size=3, window_block_indices=[0, 2],
                       residual_block_indices=[1], use_relative_position_embeddings=True)
    other = (48, 72)
    model = reseed_dense(transformers.VitDetModel(transformers.VitDetConfig(**base)), 530)
    yield Case("VitDetModel", run.transformers_folder(model), exact(model, last_hidden_state), (64, 48), other)
    plain = transformers.VitDetConfig(**base | dict(image_size=64, use_relative_position_embeddings=False, qkv_bias=False,
                                                    hidden_act="relu"))
    absolute = reseed_dense(transformers.VitDetModel(plain), 531)
    yield Case("absolute positions only", run.transformers_folder(absolute), exact(absolute, last_hidden_state), (64, 64),
               other)
    config = transformers.VitDetConfig(**base | dict(window_block_indices=[]))
    relative = reseed_dense(transformers.VitDetModel(config), 536)
    relative.embeddings.position_embeddings = None  # its initialisation fails without
    relative.config.use_absolute_position_embeddings = False
    yield Case("relative positions only", run.transformers_folder(relative), exact(relative, last_hidden_state), (64, 48),
               other)
    config = transformers.VitDetConfig(**base, out_features=["stage3"])
    backbone = reseed_dense(transformers.VitDetBackbone(config), 534)
    yield Case("VitDetBackbone", run.transformers_folder(backbone),
               exact(backbone, lambda output: list(output.feature_maps)), (64, 48), other)


# ---- DPT and Depth Anything


def predicted_depth(output):
    return output.predicted_depth


def reseed_depth(model, last, size, seed):
    """With the last convolution scaled so that what follows it, a ReLU or a sigmoid, leaves most of its range."""
    model, seen = reseed_dense(model, seed), []
    hook = last.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    with torch.no_grad():
        model(pixels(*size))
        last.weight /= seen[0].std()
        last.bias += 1.5 - (last.bias + (seen[0].mean() - last.bias) / seen[0].std())
    hook.remove()
    return model


NECK = dict(reassemble_factors=[4, 2, 1, 0.5], neck_hidden_sizes=[12, 16, 20, 24], fusion_hidden_size=16)


def dpt_config(**args):
    return transformers.DPTConfig(**TINY | NECK | dict(num_hidden_layers=4, intermediate_size=96, image_size=40,
                                                       backbone_out_indices=[0, 1, 2, 3]) | args)


def dinov2_config(**args):
    base = dict(hidden_size=48, num_hidden_layers=4, num_attention_heads=3, mlp_ratio=2, patch_size=7, image_size=35,
                out_indices=[1, 2, 3, 4], reshape_hidden_states=False)
    return transformers.Dinov2Config(**base | args)


@family("DPT", "transformers")
def dpt(run):
    """At 40 pixels the coarsest of the maps do not double to the next."""
    cases = (
        (540, "readout by projection", dict()),
        (541, "readout ignored, three taps", dict(readout_type="ignore", hidden_act="gelu_new", backbone_out_indices=[0, 2, 3],
                                                  reassemble_factors=[2, 1, 0.25], neck_hidden_sizes=[8, 16, 12])),
        (542, "readout added", dict(readout_type="add", head_in_index=-2)),
        (544, "BatchNorm", dict(use_batch_norm_in_fusion_residual=True, qkv_bias=False)),
        (544, "BatchNorm and biases",
         dict(use_batch_norm_in_fusion_residual=True, use_bias_in_fusion_residual=True)),
    )
    for seed, name, args in cases:
        model = transformers.DPTForDepthEstimation(dpt_config(**args))
        model = reseed_depth(model, model.head.head[4], (40, 40), seed)
        yield Case(name, run.transformers_folder(model), exact(model, predicted_depth), (40, 40), (48, 48))
    model = reseed_dense(transformers.DPTForSemanticSegmentation(dpt_config(num_labels=5)), 550)
    yield Case("segmentation", run.transformers_folder(model), exact(model, lambda output: output.logits), (40, 40), (48, 48))
    config = transformers.DPTConfig(**NECK, backbone_config=dinov2_config())
    model_dinov2 = transformers.DPTForDepthEstimation(config)
    model_dinov2 = reseed_depth(model_dinov2, model_dinov2.head.head[4], (35, 35), 551)
    yield Case("backbone DINOv2", run.transformers_folder(model_dinov2), exact(model_dinov2, predicted_depth), (35, 35),
               (42, 28))


@family("Depth Anything", "transformers")
def depth_anything(run):
    base = NECK | dict(patch_size=7, reassemble_hidden_size=48, head_hidden_size=8)
    cases = {
        "relative": (dict(), dict()),
        "metric": (dict(depth_estimation_type="metric", max_depth=20), dict()),
        "stages by name, no norm": (dict(), dict(out_indices=None, out_features=["stem", "stage1", "stage2", "stage3"],
                                                 apply_layernorm=False)),
        "SwiGLU": (dict(), dict(use_swiglu_ffn=True)),
    }
    for seed, (name, (args, backbone)) in enumerate(cases.items()):
        config = transformers.DepthAnythingConfig(**base | args, backbone_config=dinov2_config(**backbone))
        model = transformers.DepthAnythingForDepthEstimation(config)
        model = reseed_depth(model, model.head.conv3, (35, 35), 560 + seed)
        yield Case(name, run.transformers_folder(model), exact(model, predicted_depth), (35, 35), (42, 28))
