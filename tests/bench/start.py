"""A C program with its model inside: time from exec to its first logits, resident memory, and whether it asks for memory afterwards.

    start.py [--model ARCH] [--precision P,P] [--threads T,T] [--starts N] [--runs N] [--memory-only] [--vitc FILE] [--runtime FILE]

For each precision the model, with random weights, is compiled and linked with start.c and the runtime's pool of threads. A table, and
status 1 when a program breaks a limit: its first logits 40 ms later than its best inference takes (the best of all starts, its files
in the page cache; not with --memory-only), more resident than weights, arena and 8 MB, or any memory asked for after the first
logits."""

import argparse
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
LATE_MS, BESIDE = 40, 8e6


def call(command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"start.py: {' '.join(command[:3])}: {(done.stderr.strip().splitlines() or [f'status {done.returncode}'])[-1]}")
    return done.stdout


def program(options, graph, precision, folder):
    made, header, path = (os.path.join(folder, f"{precision}{suffix}") for suffix in (".o", ".h", ""))
    call([options.vitc, "compile", graph, "-o", made, "--header", header, "--precision", precision])
    call(["cc", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-Wshadow", "-Werror", "-I", os.path.join(ROOT, "runtime/include"), "-DMODEL=start",
          "-include", header, os.path.join(HERE, "start.c"), made, options.runtime, "-lpthread", "-o", path])
    return path


def measure(options, path, threads):
    starts = [json.loads(call([path, str(threads), str(options.runs)])) for _ in range(options.starts)]
    firsts, inferences = (sorted(start[key] for start in starts) for key in ("first_ms", "inference_ms"))
    middle = len(starts) // 2
    return {
        "inference": inferences[0],
        "late": firsts[0] - inferences[0],
        "late_median": firsts[middle] - inferences[middle],
        "beside": max(start["peak"] - start["weights"] - start["arena"] for start in starts),
        "peak": max(start["peak"] for start in starts),
        "grown": max(start["grown"] for start in starts),
        "allocations": max(start["allocations"] for start in starts),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit_base_patch16_224")
    parser.add_argument("--precision", default="fp32,bf16,int8")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--memory-only", action="store_true", help="do not judge times: a machine with other work cannot")
    parser.add_argument("--vitc", default=os.environ.get("VITC", os.path.join(ROOT, "build/vitc")))
    parser.add_argument("--runtime", default=os.path.join(os.environ.get("VITC_BUILD", os.path.join(ROOT, "build")), "libvitc_runtime.a"))
    options = parser.parse_args()
    good = True
    print(f"{options.model}, {options.starts} starts\n\n| | threads | inference ms | first logits later by ms, best, median | peak MB resident "
          "| beside weights and arena | allocations | grown |\n|---|---:|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        graph = os.path.join(folder, "start.json")
        call([options.vitc, "import", "--init", "random", "--seed", "0", "--arch", options.model, "-o", graph])
        for precision in options.precision.split(","):
            path = program(options, graph, precision, folder)
            for threads in options.threads.split(","):
                row = measure(options, path, threads)
                print(f"| {precision} | {threads} | {row['inference']:.2f} | {row['late']:.1f}, {row['late_median']:.1f} "
                      f"| {row['peak'] / 1e6:.1f} | {row['beside'] / 1e6:.1f} | {row['allocations']} | {row['grown']} |", flush=True)
                good = good and row["beside"] <= BESIDE and row["allocations"] == 0 and row["grown"] == 0
                good = good and (options.memory_only or row["late"] <= LATE_MS)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
