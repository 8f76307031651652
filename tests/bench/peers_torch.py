"""PyTorch: eager, and ahead of time through Inductor. A peer's `prepare` makes its files, `load` gives a function of the input
and the input as that function takes it."""
import os

import subject as subjects


def set_threads(subject):
    import torch

    torch.set_num_threads(subject.threads)
    torch.set_num_interop_threads(1)


def load_input(subject):
    import numpy
    import torch

    return torch.from_numpy(numpy.load(subject.input))


def without_gradients(function):
    import torch

    def run(pixels):
        with torch.inference_mode():
            return function(pixels).numpy()

    return run


class Eager:
    name, packages = "PyTorch eager", ("torch",)

    @staticmethod
    def prepare(subject):
        pass

    @staticmethod
    def load(subject):
        set_threads(subject)
        return without_gradients(subjects.torch_model(subject)), load_input(subject)


class Inductor:
    """Compiled for the number of threads that it runs on: max_autotune measures kernels, freezing packs the weights."""

    name, packages = "PyTorch AOTInductor", ("torch",)

    @staticmethod
    def path(subject):
        return subject.path(f"inductor_b{subject.batch}_t{subject.threads}.pt2")

    @staticmethod
    def prepare(subject):
        path = Inductor.path(subject)
        if os.path.exists(path):
            return
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = subject.path("inductor_cache")
        import torch

        set_threads(subject)
        options = {"max_autotune": True, "freezing": True, "autotune_in_subproc": False}
        with torch.no_grad():
            program = torch.export.export(subjects.torch_model(subject), (load_input(subject),))
            torch._inductor.aoti_compile_and_package(program, package_path=path, inductor_configs=options)

    @staticmethod
    def load(subject):
        import torch

        set_threads(subject)
        return without_gradients(torch._inductor.aoti_load_package(Inductor.path(subject))), load_input(subject)
