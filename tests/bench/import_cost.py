"""See import.sh."""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import subject

ARCH = "vit_base_patch16_224"
TIME_RATIO_MAX, MEMORY_MAX = 2, 64 << 20


def make(folder):
    """Name and path of each file, and whether the limits are for it."""
    timm = subject.import_timm()
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    state = {name: tensor.contiguous() for name, tensor in timm.create_model(ARCH).state_dict().items()}
    torch.save(state, folder / "zip.pth")
    torch.save(state, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    save_file(state, folder / "fp32.safetensors")
    save_file({name: tensor.half() for name, tensor in state.items()}, folder / "fp16.safetensors")
    save_file({name: tensor.bfloat16() for name, tensor in state.items()}, folder / "bf16.safetensors")
    return [(".pth, zip", folder / "zip.pth", True), (".pth, legacy", folder / "legacy.pth", True),
            (".safetensors", folder / "fp32.safetensors", True), (".safetensors, float16", folder / "fp16.safetensors", False),
            (".safetensors, bfloat16", folder / "bf16.safetensors", False)]


def seconds(command, made):
    """Of a command that makes these files, which are not there before."""
    for path in made:
        path.unlink(missing_ok=True)
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def anonymous_peak(command):
    """Of memory that is not of a file, looked at as often as this goes."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        try:
            text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            break
        for line in text.splitlines():
            if line.startswith("RssAnon:"):
                peak = max(peak, int(line.split()[1]) * 1024)
    if process.wait():
        sys.exit(f"{' '.join(map(str, command))}: exit status {process.returncode}")
    return peak


def main():
    parser = argparse.ArgumentParser(prog="import.sh", description="What an import costs beside copying the file.")
    parser.add_argument("--vitc", default="build/vitc")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder")
    options = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = pathlib.Path(name)
        copy, graph = folder / "copy", folder / "m.json"
        print("| ViT-B/16 | cp ms | import ms | ratio | RssAnon MiB |\n|---|---:|---:|---:|---:|")
        for what, path, limited in make(folder):
            command = [os.path.abspath(options.vitc), "import", path, "--arch", ARCH, "-o", graph]
            copies, imports = [], []
            path.read_bytes()  # into the page cache
            for _ in range(options.rounds):
                copies.append(seconds(["cp", path, copy], [copy]))
                imports.append(seconds(command, [graph, graph.with_suffix(".safetensors")]))
            peak, ratio = anonymous_peak(command), min(imports) / min(copies)
            print(f"| {what} | {min(copies) * 1e3:.0f} | {min(imports) * 1e3:.0f} | {ratio:.2f} | {peak / 2**20:.1f} |", flush=True)
            good &= not limited or (ratio <= TIME_RATIO_MAX and peak <= MEMORY_MAX)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
