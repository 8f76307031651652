"""The rivals of each precision by name, and what runs in a process of its own for each:

    peers.py prepare PRECISION PEER FOLDER MODEL BATCH THREADS          makes the peer's files
    peers.py prepare PRECISION reference FOLDER MODEL BATCH THREADS     makes those of the subject
    peers.py serve   PRECISION PEER FOLDER MODEL BATCH THREADS OUTPUT   a worker, as `vitc bench --worker` is one

A worker runs the input once, writes the output as .npy and prints `ready`. Then `run N` on its standard input is answered by N
lines, the wall milliseconds of one inference each; `quit` or the end of the input ends it. Input and logits are fp32 in every
precision."""
import os
import sys
import time

from peers_runtimes import LiteRt, OnnxRuntime, OpenVino
from peers_torch import Autocast, Dynamic, Eager, Inductor
from subject import Subject, make

PEERS = {
    "fp32": {"torch-eager": Eager("fp32"), "torch-aoti": Inductor("fp32"), "onnxruntime": OnnxRuntime("fp32"),
             "openvino": OpenVino("fp32", "f32"), "litert": LiteRt()},
    "bf16": {"torch-eager": Eager("bf16"), "torch-autocast": Autocast(), "torch-aoti": Inductor("bf16"),
             "openvino": OpenVino("fp32", "bf16")},
    "int8": {"torch-eager": Dynamic(), "onnxruntime": OnnxRuntime("dynamic"), "onnxruntime-static": OnnxRuntime("static"),
             "openvino": OpenVino("int8", "f32"), "openvino-bf16": OpenVino("int8", "bf16")},
}


def serve(peer, subject, output):
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    run, pixels = peer.load(subject)
    import numpy

    numpy.save(output, numpy.asarray(run(pixels), numpy.float32))
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        words = line.split()
        if not words or words[0] == "quit":
            break
        times = []
        for _ in range(int(words[1])):
            start = time.perf_counter()
            run(pixels)
            times.append((time.perf_counter() - start) * 1e3)
        print(*(f"{milliseconds:.4f}" for milliseconds in times), sep="\n", file=answers, flush=True)
    os._exit(0)  # some libraries' threads do not end


def main():
    what, precision, name, folder, model, batch, threads = sys.argv[1:8]
    subject = Subject(folder, model, int(batch), int(threads))
    if name == "reference":
        make(subject)
    elif what == "prepare":
        PEERS[precision][name].prepare(subject)
    else:
        serve(PEERS[precision][name], subject, sys.argv[8])


if __name__ == "__main__":
    main()
