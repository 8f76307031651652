"""vitc side by side with other runtimes on this machine: one table per number of threads. See rivals.sh."""
import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys

import contest
import subject as subjects
from contest import Contestant, Failed
from peers import PEERS

HERE = os.path.dirname(os.path.abspath(__file__))
PRECISIONS = tuple(PEERS)


def note(text):
    print(text, file=sys.stderr, flush=True)


def first_of(path, key):
    with open(path) as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return "unknown"


def machine():
    caches = {}
    for index in range(8):
        folder = f"/sys/devices/system/cpu/cpu0/cache/index{index}"
        if os.path.isdir(folder):
            level, kind, size = (open(f"{folder}/{name}").read().strip() for name in ("level", "type", "size"))
            caches[f"L{level}{'' if kind == 'Unified' else kind[0].lower()}"] = size
    return {
        "cpu": first_of("/proc/cpuinfo", "model name"),
        "cpus": len(os.sched_getaffinity(0)),
        "caches": caches,
        "memory": first_of("/proc/meminfo", "MemTotal"),
        "system": f"{platform.system()} {platform.release()}",
        "load": [round(load, 2) for load in os.getloadavg()],
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }


def versions(options):
    packages = {package for name in options.peers for package in PEERS[options.precision][name].packages} | {"timm"}
    return {package: importlib.metadata.version(package) for package in sorted(packages)}


def call(command, what, environment=None):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env=dict(os.environ, **(environment or {})))
    if done.returncode != 0:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        raise Failed(f"{what}, {contest.end(done.returncode)}" + (f": {lines[-1][:300]}" if lines else ""))
    return done.stdout


def peer_environment(options):
    """On a machine with AMX, what makes it usable for rivals that ask CPUID for more than the machine may say: tile_leaf.c."""
    if "amx_tile" not in first_of("/proc/cpuinfo", "flags").split():
        return {}
    library = os.path.join(options.work, "tile_leaf.so")
    call(["cc", "-O2", "-shared", "-fPIC", os.path.join(HERE, "tile_leaf.c"), "-o", library], "cc")
    return {"LD_PRELOAD": library}


def peer_command(options, what, name, subject, *more):
    return [sys.executable, os.path.join(HERE, "peers.py"), what, options.precision, name, os.path.dirname(subject.folder),
            subject.model, str(subject.batch), str(subject.threads), *more]


def compile_with_vitc(options, subject):
    """The object, and the operations of one image of the model as given."""
    vitc, graph, made = options.vitc, subject.path("vitc.json"), subject.path(f"vitc_{options.precision}_b{subject.batch}.o")
    call([vitc, "import", subject.weights, "--arch", subject.model, "-o", graph], "vitc import")
    call([vitc, "compile", graph, "-o", made, "--batch", str(subject.batch), "--precision", options.precision], "vitc compile")
    return made, json.loads(call([vitc, "inspect", graph, "--json"], "vitc inspect"))["flops_as_given"]


def contestants_of(options, subject, object_path):
    """Prepared rivals, and (contestant, reason) of those that could not be."""
    def output(name):
        return subject.path(f"output_{name}_{options.precision}_b{subject.batch}_t{subject.threads}.npy")

    command = [options.vitc, "bench", object_path, "--worker", "--input", subject.input, "--output", output("vitc"), "--threads",
               str(subject.threads), "--batch", str(subject.batch)]
    ready, failed, environment = [Contestant("vitc", command, output("vitc"))], [], peer_environment(options)
    for name in options.peers:
        contestant = Contestant(PEERS[options.precision][name].name, peer_command(options, "serve", name, subject, output(name)),
                                output(name), environment)
        try:
            note(f"{contestant.name}: preparing")
            call(peer_command(options, "prepare", name, subject), "cannot be prepared", environment)
            ready.append(contestant)
        except Failed as fault:
            note(f"{contestant.name}: {fault}")
            failed.append((contestant, str(fault)))
    return ready, failed


def median(values):
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def row(contestant, flops):
    return {
        "name": contestant.name,
        "min_ms": min(contestant.times),
        "median_ms": median(contestant.times),
        "inferences": len(contestant.times),
        "gflops": flops / min(contestant.times) / 1e6,
        "cpu_per_wall": contestant.cpu / contestant.wall,
        "resident_mib": contestant.resident / 2**20,
        "cold_seconds": contestant.cold,
        "error": contestant.error,
        "cosine": contestant.cosine,
    }


def compare(options, subject):
    """One run of all on `subject.threads` CPUs."""
    call(peer_command(options, "prepare", "reference", subject), subject.model)
    object_path, flops = compile_with_vitc(options, subject)
    contestants, failed = contestants_of(options, subject, object_path)

    def check(contestant):
        contestant.error, contestant.cosine = subjects.accuracy(subject, contestant.output)
        if not contestant.error <= subjects.ERROR_LIMITS[options.precision]:
            raise Failed(f"wrong: its logits are {contestant.error:.1e} of their deviation off")

    cpus = set(sorted(os.sched_getaffinity(0))[: subject.threads])
    finished, dropped = contest.run(contestants, cpus, subject.threads, options.rounds, options.turn, check, note)
    rows = sorted((row(contestant, flops * subject.batch) for contestant in finished), key=lambda entry: entry["min_ms"])
    return {"model": subject.model, "precision": options.precision, "batch": subject.batch, "threads": subject.threads,
            "gflop": flops * subject.batch / 1e9, "rounds": options.rounds, "rows": rows,
            "failed": [{"name": contestant.name, "reason": reason} for contestant, reason in failed + dropped]}


def print_table(result):
    own = next((entry for entry in result["rows"] if entry["name"] == "vitc"), None)
    threads = result["threads"]
    print(f"\n{result['model']}, {result['precision']}, batch {result['batch']}, {threads} thread{'s' if threads > 1 else ''}, "
          f"{result['gflop']:.2f} GFLOP as given\n")
    print("| | min ms | median ms | of vitc's min | of its median | GFLOP/s | CPU s/s | RSS MiB | cold s | error | cosine |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for entry in result["rows"]:
        ratios = [f"{entry[key] / own[key]:.2f}" if own else "" for key in ("min_ms", "median_ms")]
        print(f"| {entry['name']} | {entry['min_ms']:.2f} | {entry['median_ms']:.2f} | {ratios[0]} | {ratios[1]} "
              f"| {entry['gflops']:.1f} | {entry['cpu_per_wall']:.2f} | {entry['resident_mib']:.0f} "
              f"| {entry['cold_seconds']:.2f} | {entry['error']:.1e} | {entry['cosine']:.5f} |")
    for entry in result["failed"]:
        print(f"\n{entry['name']} failed: {entry['reason']}")


def words(text):
    return [word for word in text.split(",") if word]


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive number")
    return number


def parse():
    parser = argparse.ArgumentParser(prog="rivals.sh", description="Runs vitc and other runtimes side by side on one ViT.")
    parser.add_argument("--model", default="vit_base_patch16_224", help="a ViT of timm (%(default)s)")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="what products run in, vitc's and theirs (%(default)s)")
    parser.add_argument("--batch", type=positive, default=1, metavar="N", help="images of one inference (1)")
    parser.add_argument("--threads", default="1,2", metavar="T,T", help="numbers of threads, one table each (%(default)s)")
    parser.add_argument("--rounds", type=positive, default=8, metavar="R", help="turns of everyone (%(default)s)")
    parser.add_argument("--turn", type=float, default=1, metavar="SECONDS", help="of one turn (%(default)s)")
    parser.add_argument("--peers", metavar="P,P", help="(all of the precision: "
                        + "; ".join(f"{precision} {','.join(PEERS[precision])}" for precision in PRECISIONS) + ")")
    parser.add_argument("--vitc", default="build/vitc", metavar="FILE", help="the binary (%(default)s)")
    parser.add_argument("--work", default="build/bench", metavar="FOLDER", help="for models and what is made of them (%(default)s)")
    parser.add_argument("--json", metavar="FILE", help="where to write all figures (WORK/rivals.json)")
    options = parser.parse_args()
    known = PEERS[options.precision]
    options.peers = list(known) if options.peers is None else words(options.peers)
    for name in options.peers:
        if name not in known:
            parser.error(f"there is no peer '{name}' in {options.precision}, only {', '.join(known)}")
    try:
        options.threads = [positive(word) for word in words(options.threads)]
    except (ValueError, argparse.ArgumentTypeError):
        parser.error(f"--threads: '{options.threads}' is not a list of numbers")
    if max(options.threads, default=0) > len(os.sched_getaffinity(0)):
        parser.error(f"--threads: this process has {len(os.sched_getaffinity(0))} CPUs")
    options.json = options.json or os.path.join(options.work, "rivals.json")
    options.vitc, options.work = os.path.abspath(options.vitc), os.path.abspath(options.work)
    return options


def main():
    options = parse()
    report = {"machine": machine(), "versions": versions(options), "results": []}
    for threads in options.threads:
        subject = subjects.Subject(options.work, options.model, options.batch, threads)
        try:
            report["results"].append(compare(options, subject))
        except Failed as fault:
            sys.exit(f"rivals.sh: {fault}")
    about = report["machine"]
    print(f"{about['cpu']}, {about['cpus']} CPUs, caches {', '.join(f'{k} {v}' for k, v in about['caches'].items())}, memory "
          f"{about['memory']}, {about['system']}, load before {about['load'][0]}, {about['date']}; "
          + ", ".join(f"{name} {version}" for name, version in report["versions"].items()))
    for result in report["results"]:
        print_table(result)
    with open(options.json, "w") as file:
        json.dump(report, file, indent=1)
    print("\nTimes are of one inference; the error is the largest difference of the logits from PyTorch eager in fp32, over their "
          "deviation, beside the least cosine of an image; 'cold' is from the start of the process to its first logits.")
    note(f"all figures: {options.json}")
    if not all(any(entry["name"] == "vitc" for entry in result["rows"]) for result in report["results"]):
        sys.exit(1)


if __name__ == "__main__":
    main()
