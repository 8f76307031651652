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


def torch_model(subject, precision):
    """From fp32 pixels to fp32 logits, with everything between in the precision."""
    import torch

    model = subjects.torch_model(subject)
    if precision == "fp32":
        return model

    class Bf16(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model.bfloat16()

        def forward(self, pixels):
            return self.model(pixels.bfloat16()).float()

    return Bf16().eval()


class Eager:
    packages = ("torch",)

    def __init__(self, precision):
        self.name, self.precision = "PyTorch eager", precision

    def prepare(self, subject):
        pass

    def load(self, subject):
        set_threads(subject)
        return without_gradients(torch_model(subject, self.precision)), load_input(subject)


class Autocast:
    """Products in bf16; normalisations, softmax and the residual stream in fp32."""

    name, packages = "PyTorch autocast", ("torch",)

    def prepare(self, subject):
        pass

    def load(self, subject):
        import torch

        set_threads(subject)
        model = subjects.torch_model(subject)

        def run(pixels):
            with torch.autocast("cpu", torch.bfloat16):
                return model(pixels).float()

        return without_gradients(run), load_input(subject)


class Dynamic:
    """Linear layers in int8, their inputs by a scale found as they pass."""

    name, packages = "PyTorch dynamic", ("torch",)

    def prepare(self, subject):
        pass

    def load(self, subject):
        import torch

        set_threads(subject)
        model = torch.ao.quantization.quantize_dynamic(subjects.torch_model(subject), {torch.nn.Linear}, dtype=torch.qint8)
        return without_gradients(model), load_input(subject)


class Inductor:
    """Compiled for the number of threads that it runs on: max_autotune measures kernels, freezing packs the weights."""

    packages = ("torch",)

    def __init__(self, precision):
        self.name, self.precision = "PyTorch AOTInductor", precision

    def path(self, subject):
        return subject.path(f"inductor_{self.precision}_b{subject.batch}_t{subject.threads}.pt2")

    def prepare(self, subject):
        path = self.path(subject)
        if os.path.exists(path):
            return
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = subject.path("inductor_cache")
        import torch

        set_threads(subject)
        options = {"max_autotune": True, "freezing": True, "autotune_in_subproc": False}
        with torch.no_grad():
            program = torch.export.export(torch_model(subject, self.precision), (load_input(subject),))
            torch._inductor.aoti_compile_and_package(program, package_path=path, inductor_configs=options)

    def load(self, subject):
        import torch

        set_threads(subject)
        return without_gradients(torch._inductor.aoti_load_package(self.path(subject))), load_input(subject)
