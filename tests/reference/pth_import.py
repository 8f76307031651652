"""`vitc import` of whole models from checkpoints of torch.save: a large one in little memory, and the same bytes from .pth as from
.safetensors.

    pth_import.py [--build FOLDER] [--vitc PATH]"""

import os
import resource
import subprocess

import support
from make_vits import SMALL, reseed
from pth import FORMS, Command, peak_bytes, read_parts

import timm
import torch
from safetensors.torch import save_file


def costs(run):
    """ViT-B/16: the tensors stay in the mapped file, whose pages are not even read here. The import of it then works with 64 MiB of
    memory beside mapped files, in whatever form and dtype its 344 MB are."""
    state = timm.create_model("vit_base_patch16_224").state_dict()
    for form in FORMS:
        path = run.save(state, form)
        result = subprocess.run([run.program, path, os.devnull], capture_output=True, text=True, timeout=60)
        peak = peak_bytes(result)
        run.checks.check(f"memory of ViT-B/16, {form}", result.returncode == 0 and peak <= 64 << 20, f"{peak >> 20} MiB")
        imported_in_little(run, form, path)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        path = run.path(".safetensors")
        save_file({name: tensor.to(dtype).contiguous() for name, tensor in state.items()}, path)
        imported_in_little(run, f"safetensors, {dtype}", path)


def imported_in_little(run, name, path):
    graph = run.path(".json")
    result = subprocess.run([support.VITC, "import", path, "--arch", "vit_base_patch16_224", "-o", graph], capture_output=True, text=True,
                            timeout=60, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (64 << 20, 64 << 20)))
    run.checks.check(f"import of ViT-B/16 in 64 MiB, {name}", result.returncode == 0, result.stderr.strip())
    for file in (path, graph, graph.with_suffix(".safetensors")):
        file.unlink(missing_ok=True)


def imports(run):
    model = reseed(timm.create_model("vit_tiny_patch16_224", **SMALL), 200)
    spec = "vit:dim=64,depth=2,heads=4,patch=8,image=32"
    flat = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    full = reseed(timm.create_model("vit_tiny_patch16_224"), 201)
    sources = {
        "a small ViT": (model, spec, flat),
        "vit_tiny_patch16_224": (full, "vit_tiny_patch16_224", {n: t.contiguous() for n, t in full.state_dict().items()}),
    }
    for name, (net, arch, tensors) in sources.items():
        plain, folder = run.path(".safetensors"), run.path("")
        folder.mkdir()
        save_file(tensors, plain)

        def imported(source):
            support.vitc("import", source, "--arch", arch, "-o", folder / "m.json")
            return (folder / "m.json").read_bytes(), (folder / "m.safetensors").read_bytes()

        want = imported(plain)
        for form in FORMS:
            for what, checkpoint in {"state dict": net.state_dict(), "checkpoint": {"model": net.state_dict(), "epoch": 3},
                                     "DataParallel": {f"module.{n}": t for n, t in net.state_dict().items()}}.items():
                run.checks.check(f"import of {name}: {what}, {form}", imported(run.save(checkpoint, form)) == want)
        halves = {n: t.half() for n, t in tensors.items()}
        save_file(halves, plain)
        run.checks.check(f"import of {name}: float16", imported(run.save(halves)) == imported(plain))
    broken = run.save({"model": Command()})
    result = subprocess.run([support.VITC, "import", broken, "-o", run.path(".json")], capture_output=True, text=True)
    run.checks.check("import names what it refuses", result.returncode == 3 and "posix.system" in result.stderr, result.stderr)


if __name__ == "__main__":
    read_parts(__doc__, (costs, imports))
