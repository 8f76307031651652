"""The rows of families.py: what a family of models is, and how it is checked against its own framework.

A module registers its rows:

    @family("DINOv2", "transformers, timm, original")
    def dinov2(run):
        model = reseed(...)
        yield Case("transformers", run.transformers_folder(model), lambda x: model(x).pooler_output, (28, 28),
                   resized=(42, 28))

Every case is imported at its own size and at another through --image-size, and run by the interpreter and as an object at
batches 1 and 3. The object of the last size holds the code of every CPU level, and runs on AVX2's, too."""

import dataclasses
import typing

import torch

from make_vits import BATCH, pixels
from support import FP32_TOLERANCE, error, vitc

ROWS = {}
ALL_LEVELS = "x86-64"


@dataclasses.dataclass
class Case:
    """One checkpoint. An answer is a tensor for pixels (N, C, H, W), or a list of tensors for several outputs."""

    name: str
    source: typing.Any  # a folder or a file; None: only options
    answer: typing.Callable
    size: tuple  # height and width of the source
    resized: tuple = None  # the second size; None: the source has only one, for the reason in `fixed`
    answer_resized: typing.Callable = None  # None: `answer` takes any size
    options: tuple = ()
    fixed: str = ""
    channels: int = 3


@dataclasses.dataclass
class Row:
    name: str
    sources: str  # whose checkpoints, for the README
    cases: typing.Callable
    errors: dict = dataclasses.field(default_factory=dict)  # largest by program
    sizes: int = 0
    failed: int = 0


def family(name, sources):
    def register(cases):
        ROWS[name] = Row(name, sources, cases)
        return cases

    return register


def tensors(answer):
    return [tensor.detach() for tensor in (answer if isinstance(answer, (list, tuple)) else [answer])]


def check_size(run, row, case, size, answer, options, target):
    """The import against `answer` at one size. Returns whether all is within the bound."""
    graph = run.import_model(case.source, *case.options, *options)
    compiled = graph.with_suffix(".o")
    vitc("compile", graph, "-o", compiled, "--batch", BATCH, "--target", target)
    x = pixels(*size, channels=case.channels)
    want = tensors(answer(x))
    worst = {}
    for program, kind in ((graph, "interpreter"), (compiled, "object")):
        for batch in (1, BATCH):
            got = run.outputs(program, x[:batch])
            worst[kind] = max([worst.get(kind, 0)] + [error(g, w[:batch]) for g, w in zip(got, want, strict=True)])
    vitc("compare", graph, compiled)
    if target == ALL_LEVELS:
        vitc("compare", graph, compiled, "--cpu", "avx2")
    for kind, value in worst.items():
        row.errors[kind] = max(row.errors.get(kind, 0), value)
    row.sizes += 1
    name = f"{row.name}, {case.name}, {size[0]}x{size[1]}"
    passed = max(worst.values()) <= FP32_TOLERANCE
    return run.checks.check(name, passed, " ".join(f"{kind} error={value:.1e}" for kind, value in worst.items()))


def check_case(run, row, case):
    passed = run.checks.run(f"{row.name}, {case.name}", check_size, run, row, case, case.size, case.answer, (),
                            ALL_LEVELS if case.resized is None else "native")
    row.failed += not passed
    if case.resized is None:
        passed = run.checks.check(f"{row.name}, {case.name}: one size", bool(case.fixed), case.fixed)
    else:
        passed = run.checks.run(f"{row.name}, {case.name}, --image-size", check_size, run, row, case, case.resized,
                                case.answer_resized or case.answer, ("--image-size", "%dx%d" % case.resized), ALL_LEVELS)
    row.failed += not passed


def check_row(run, row):
    with torch.no_grad():
        for case in row.cases(run):
            check_case(run, row, case)


def table():
    """The README's table of what was checked."""
    lines = ["| family | checkpoints of | largest error, interpreter | object |", "|---|---|---:|---:|"]
    for row in ROWS.values():
        cells = ["failed" if row.failed or kind not in row.errors else f"{row.errors[kind]:.1e}"
                 for kind in ("interpreter", "object")]
        lines.append(f"| {row.name} | {row.sources} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)
