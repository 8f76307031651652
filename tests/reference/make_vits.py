"""Small ViTs of timm, transformers and the vit_model.py style with seeded weights, and their imports: shared by import.py and
import_reject.py."""

import argparse
import json
import pathlib
import tempfile
import warnings

import numpy as np

import support
from support import import_timm, vitc

warnings.filterwarnings("ignore")
import_timm()

import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from timm.models import save_for_hf  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

transformers.utils.logging.disable_progress_bar()

BATCH = 3
SMALL = dict(embed_dim=64, depth=2, num_heads=4, patch_size=8, img_size=32, num_classes=7)


def reseed(module, seed):
    """Weights of order one with outliers, so that a wrong epsilon, bias, head or row shows."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    for name, parameter in module.named_parameters():
        if parameter.dim() == 0:
            continue
        values = draw(*parameter.shape)
        if parameter.dim() == 1 and name.endswith("weight"):
            values = 1 + 0.3 * values
            values[:: max(1, len(values) // 3)] *= 4
        elif parameter.dim() == 1:
            values = 0.3 * values + 0.1
        elif parameter.dim() == 3:
            values = 0.6 * values + 0.05
        else:
            values = values * (1.2 / values[0].numel() ** 0.5)
            values[-1] *= 3
        parameter.data.copy_(values)
    return module.eval()


def pixels(height, width, seed=0, channels=3):
    generator = torch.Generator().manual_seed(1000 + seed)
    low = torch.randn(BATCH, channels, 4, 4, generator=generator)
    return F.interpolate(low, (height, width), mode="bilinear") + 0.5 * torch.randn(
        BATCH, channels, height, width, generator=generator)


class LinearTanh(nn.Module):
    def __init__(self, width, representation_size):
        super().__init__()
        self.fc = nn.Linear(width, representation_size)

    def forward(self, x):
        return torch.tanh(self.fc(x))


class ScaledAttention(nn.Module):
    def __init__(self, width, heads, qkv_bias, qk_scale):
        super().__init__()
        self.heads, self.scale = heads, qk_scale or (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width, bias=qkv_bias)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = ((q @ k.transpose(-2, -1)) * self.scale).softmax(-1) @ v
        return self.proj(x.transpose(1, 2).flatten(2))


class VisionTransformer(nn.Module):
    """The key names and the options of the vit_model.py style: timm's keys, pre_logits.fc, head_dist."""

    def __init__(self, img_size, patch_size, embed_dim, depth, num_heads, num_classes, representation_size=None,
                 distilled=False, qkv_bias=True, qk_scale=None):
        super().__init__()
        tokens = 2 if distilled else 1
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, embed_dim, patch_size, patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, embed_dim)) if distilled else None
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens + (img_size // patch_size) ** 2, embed_dim))
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            block = nn.Module()
            block.norm1, block.norm2 = nn.LayerNorm(embed_dim, 1e-6), nn.LayerNorm(embed_dim, 1e-6)
            block.attn = ScaledAttention(embed_dim, num_heads, qkv_bias, qk_scale)
            block.mlp = nn.Module()
            block.mlp.fc1, block.mlp.fc2 = nn.Linear(embed_dim, 4 * embed_dim), nn.Linear(4 * embed_dim, embed_dim)
            self.blocks.append(block)
        self.norm = nn.LayerNorm(embed_dim, 1e-6)
        width = representation_size or embed_dim
        self.pre_logits = LinearTanh(embed_dim, width) if representation_size else nn.Identity()
        self.head = nn.Linear(width, num_classes) if num_classes else nn.Identity()
        self.head_dist = nn.Linear(embed_dim, num_classes) if distilled else None

    def forward(self, x):
        x = self.patch_embed.proj(x).flatten(2).transpose(1, 2)
        tokens = [self.cls_token] + ([] if self.dist_token is None else [self.dist_token])
        x = torch.cat([token.expand(len(x), -1, -1) for token in tokens] + [x], 1) + self.pos_embed
        for block in self.blocks:
            x = x + block.attn(block.norm1(x))
            x = x + block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm2(x))))
        x = self.norm(x)
        if self.dist_token is not None:
            return (self.head(x[:, 0]) + self.head_dist(x[:, 1])) / 2
        return self.head(self.pre_logits(x[:, 0]))


def transformers_config(kind, **args):
    base = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, image_size=32, patch_size=8)
    return kind(**base | args)


def torchvision_state(model):
    """The keys that torchvision gives the tensors of a timm ViT."""
    renames = [("cls_token", "class_token"), ("pos_embed", "encoder.pos_embedding"), ("patch_embed.proj", "conv_proj"),
               ("attn.qkv.", "self_attention.in_proj_"), ("attn.proj", "self_attention.out_proj"), ("norm1", "ln_1"),
               ("norm2", "ln_2"), ("mlp.fc1", "mlp.0"), ("mlp.fc2", "mlp.3"), ("blocks.", "encoder.layers.encoder_layer_")]
    state = {}
    for name, value in model.state_dict().items():
        for old, new in renames:
            name = name.replace(old, new)
        name = "heads.head" + name[4:] if name.startswith("head.") else name
        state["encoder.ln" + name[4:] if name.startswith("norm.") else name] = value.contiguous()
    return state


def transformers_output(model, x, **options):
    output = model(pixel_values=x, **options)
    if hasattr(output, "logits"):
        return output.logits
    return output.last_hidden_state[:, 0] if output.pooler_output is None else output.pooler_output


class Importer:
    def __init__(self, folder, checks, compiled):
        self.folder, self.checks, self.compiled, self.count = pathlib.Path(folder), checks, compiled, 0

    def path(self, suffix=""):
        self.count += 1
        return self.folder / f"m{self.count}{suffix}"

    def import_model(self, source, *options):
        target = self.path(".json")
        vitc("import", *([] if source is None else [source]), "-o", target, *options)
        return target

    def output(self, model, x):
        inputs, result = self.path(".npy"), self.path(".npy")
        np.save(inputs, x.numpy())
        vitc("run", model, "--input", inputs, "--output", result)
        return np.load(result)

    def outputs(self, model, x):
        """All outputs of an imported graph or of its object, in the graph's order."""
        graph = json.loads(model.with_suffix(".json").read_text())
        names = [output["name"] if isinstance(output, dict) else output for output in graph["outputs"]]
        if len(names) == 1:
            return [self.output(model, x)]
        inputs, result = self.path(".npy"), self.path(".npy")
        np.save(inputs, x.numpy())
        vitc("run", model, "--input", inputs, "--output", result)
        return [np.load(result.with_suffix(f".{name}.npy")) for name in names]

    def same(self, name, source, want, x, *options):
        """The imported source answers `want` for x."""
        self.checks.run(name, self.compare, name, source, want, x, *options)

    def compare(self, name, source, want, x, *options):
        model = self.import_model(source, *options)
        self.checks.close(name, self.output(model, x), want.detach().numpy())
        if self.compiled:
            vitc("compile", model, "-o", model.with_suffix(".o"), "--batch", BATCH, "--target", "native")
            self.checks.close(f"{name}, compiled", self.output(model.with_suffix(".o"), x), want.detach().numpy())

    def timm_folder(self, model):
        folder = self.path()
        save_for_hf(model, folder, safe_serialization=True)
        return folder

    def transformers_folder(self, model, **options):
        folder = self.path()
        model.save_pretrained(folder, **options)
        return folder

    def state(self, module, dtype=None):
        path = self.path(".safetensors")
        state = {name: value.to(dtype or value.dtype).contiguous() for name, value in module.state_dict().items()}
        save_file(state, path)
        return path


def run_parts(description, parts):
    """The command line of a test that imports models: runs its parts, functions of an Importer."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vitc", default=support.VITC)
    parser.add_argument("--compiled", action="store_true", help="compile every model, too")
    parser.add_argument("--only", help="of " + ", ".join(part.__name__ for part in parts))
    arguments = parser.parse_args()
    support.VITC = arguments.vitc
    checks = support.Checks()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        run = Importer(folder, checks, arguments.compiled)
        for part in parts:
            if arguments.only in (None, part.__name__):
                checks.run(part.__name__, part, run)
    checks.finish()
