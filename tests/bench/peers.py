"""The rivals by name, and what runs in a process of its own for each:

    peers.py prepare PEER FOLDER MODEL BATCH THREADS          makes the peer's files ('reference': those of the subject)
    peers.py serve   PEER FOLDER MODEL BATCH THREADS OUTPUT   a worker, as `vitc bench --worker` is one

A worker runs the input once, writes the output as .npy and prints `ready`. Then `run N` on its standard input is answered by N
lines, the wall milliseconds of one inference each; `quit` or the end of the input ends it.
"""
import os
import sys
import time

from peers_runtimes import LiteRt, OnnxRuntime, OpenVino
from peers_torch import Eager, Inductor
from subject import Subject, make

PEERS = {"torch-eager": Eager, "torch-aoti": Inductor, "onnxruntime": OnnxRuntime, "openvino": OpenVino, "litert": LiteRt}


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
    what, name, folder, model, batch, threads = sys.argv[1:7]
    subject = Subject(folder, model, int(batch), int(threads))
    if name == "reference":
        make(subject)
    elif what == "prepare":
        PEERS[name].prepare(subject)
    else:
        serve(PEERS[name], subject, sys.argv[7])


if __name__ == "__main__":
    main()
