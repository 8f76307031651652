"""Folders and checkpoints as transformers, timm, open_clip and training runs leave them: whichever file the weights are in, the
import writes the same bytes as from model.safetensors, which import.py compares with the frameworks.

    folders.py [--vitc PATH]"""

import argparse
import json
import shutil
import subprocess
import tempfile

import support
from support import Checks
from make_vits import SMALL, Importer, reseed, transformers_config

import timm
import torch
import transformers
from safetensors.torch import load_file, save_file

FORMS = {"zip": {}, "legacy": dict(_use_new_zipfile_serialization=False)}


def graph_and_blob(run, source, *options):
    target = run.path()
    target.mkdir()
    support.vitc("import", source, "-o", target / "m.json", *options)
    return (target / "m.json").read_bytes(), (target / "m.safetensors").read_bytes()


def variant(run, folder):
    """A copy of the folder without its weights, and those."""
    copy = run.path()
    shutil.copytree(folder, copy)
    (copy / "model.safetensors").unlink()
    return copy, load_file(folder / "model.safetensors")


def shards(tensors, count):
    names = sorted(tensors)
    return [{name: tensors[name] for name in names[i::count]} for i in range(count)]


def write_shards(folder, parts, pattern, index, save):
    weight_map = {}
    for i, part in enumerate(parts):
        name = pattern % (i + 1, len(parts))
        save(part, folder / name)
        weight_map |= dict.fromkeys(part, name)
    total = sum(tensor.nbytes for part in parts for tensor in part.values())
    (folder / index).write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=2))
    return weight_map


def folders(run):
    vit = transformers.ViTForImageClassification(transformers_config(transformers.ViTConfig, num_labels=5))
    sources = {"transformers": run.transformers_folder(reseed(vit, 300)),
               "timm": run.timm_folder(reseed(timm.create_model("vit_tiny_patch16_224", **SMALL), 301))}
    for kind, folder in sources.items():
        want = graph_and_blob(run, folder)

        def same(name, other):
            run.checks.run(name, lambda: run.checks.check(name, graph_and_blob(run, other) == want))

        for form, options in FORMS.items():
            copy, tensors = variant(run, folder)
            torch.save(tensors, copy / "pytorch_model.bin", **options)
            same(f"{kind}: pytorch_model.bin, {form}", copy)
            copy, tensors = variant(run, folder)
            torch.save(tensors, copy / "open_clip_pytorch_model.bin", **options)
            same(f"{kind}: open_clip_pytorch_model.bin, {form}", copy)
            copy, tensors = variant(run, folder)
            write_shards(copy, shards(tensors, 3), "pytorch_model-%05d-of-%05d.bin", "pytorch_model.bin.index.json",
                         lambda part, path, options=options: torch.save(part, path, **options))
            same(f"{kind}: shards of pytorch_model.bin, {form}", copy)
        copy, tensors = variant(run, folder)
        save_file(tensors, copy / "open_clip_model.safetensors")
        same(f"{kind}: open_clip_model.safetensors", copy)
        copy, tensors = variant(run, folder)
        parts = shards(tensors, 4)
        weight_map = write_shards(copy, parts, "model-%05d-of-%05d.safetensors", "model.safetensors.index.json", save_file)
        same(f"{kind}: shards of model.safetensors", copy)
        broken(run, kind, copy, weight_map)


def broken(run, kind, folder, weight_map):
    index, victim = folder / "model.safetensors.index.json", next(iter(weight_map))

    def rejects(name, change, *parts):
        changed = dict(weight_map)
        change(changed)
        index.write_text(json.dumps({"weight_map": changed}))
        result = run.refuse(folder)
        run.checks.check(f"{kind}: refuses {name}", all(part in result for part in (index.name, *parts)), result.strip())

    rejects("an index with a path", lambda m: m.update({victim: "../" + m[victim]}), victim)
    rejects("an index with an absolute path", lambda m: m.update({victim: str(folder / m[victim])}), victim)
    rejects("an index with another file", lambda m: m.update({victim: next(f for f in m.values() if f != m[victim])}), victim)
    rejects("an index with a tensor more", lambda m: m.update({"nothing": m[victim]}), "nothing")
    index.write_text(json.dumps({"weight_map": weight_map}))
    (folder / weight_map[victim]).unlink()
    result = run.refuse(folder)
    run.checks.check(f"{kind}: refuses a missing shard", weight_map[victim] in result, result.strip())
    index.unlink()
    result = run.refuse(folder)
    run.checks.check(f"{kind}: refuses a folder without weights", f"{folder}: no weights" in result, result.strip())


def training_runs(run):
    """model-{epoch}.pth: what a training writes beside the weights is passed over."""
    model = reseed(timm.create_model("vit_tiny_patch16_224", **SMALL | dict(num_classes=5)), 310)
    arch = ("--arch", "vit:dim=64,depth=2,heads=4,patch=8,image=32")
    plain = run.path(".safetensors")
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, plain)
    want = graph_and_blob(run, plain, *arch)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with torch.enable_grad():
        model(torch.ones(2, 3, 32, 32)).sum().backward()
    optimizer.step(lambda: None)
    optimizer.state_dict()["state"][0]["momentum_buffer"].fill_(float("nan"))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
    model.load_state_dict(load_file(plain))
    state = model.state_dict()
    scheduler_state = {key: value for key, value in scheduler.state_dict().items() if not callable(value)}
    extras = {"optimizer": optimizer.state_dict(), "lr_scheduler": scheduler_state, "epoch": 9, "best": 0.98}
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    for form, options in FORMS.items():
        for name, checkpoint in {"model-9.pth": state, "model-9.pth of DataParallel": wrapped, "model": {"model": state} | extras,
                                 "state_dict": {"state_dict": wrapped} | extras,
                                 "model in state_dict": {"state_dict": {"model": state}} | extras}.items():
            path = run.path(".pth")
            torch.save(checkpoint, path, **options)
            name = f"training: {name}, {form}"
            run.checks.run(name, lambda: run.checks.check(name, graph_and_blob(run, path, *arch) == want))


class Run(Importer):
    def refuse(self, source):
        """The one line of exit 3; other outcomes are an empty text."""
        command = [support.VITC, "import", str(source), "-o", str(self.path(".json"))]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return result.stderr if result.returncode == 3 and result.stderr.count("\n") == 1 else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vitc", default=support.VITC)
    support.VITC = parser.parse_args().vitc
    checks = Checks()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        run = Run(folder, checks, False)
        for part in (folders, training_runs):
            checks.run(part.__name__, part, run)
    checks.finish()


if __name__ == "__main__":
    main()
