"""Runtimes with a format of their own: ONNX Runtime, OpenVINO, LiteRT. Models are converted from PyTorch at the batch size that
is measured; the settings are those for one request at a time on a fixed number of threads. Where quantisation needs samples, it gets
images like the input, and not the input itself: ranges that were found on what is then measured would hide the error."""
import os

import subject as subjects

SAMPLE_IMAGES = 16


def load_input(subject):
    import numpy

    return numpy.load(subject.input)


def samples(subject):
    import numpy

    shape, generator = load_input(subject).shape, numpy.random.RandomState(1)
    return [generator.standard_normal(shape).astype(numpy.float32) for _ in range(max(1, SAMPLE_IMAGES // shape[0]))]


class OnnxRuntime:
    packages = ("onnxruntime",)

    def __init__(self, scheme):
        self.name, self.scheme = "ONNX Runtime" + {"fp32": ""}.get(scheme, f" {scheme}"), scheme

    def path(self, subject, scheme=None):
        scheme = scheme or self.scheme
        return subject.path(f"b{subject.batch}.onnx" if scheme == "fp32" else f"{scheme}_b{subject.batch}.onnx")

    def export(self, subject):
        path = self.path(subject, "fp32")
        if not os.path.exists(path):
            import torch

            pixels = torch.from_numpy(load_input(subject))
            torch.onnx.export(subjects.torch_model(subject), (pixels,), path, dynamo=True, external_data=False, opset_version=18,
                              input_names=["pixels"], output_names=["logits"], optimize=True, verbose=False)
        return path

    def prepare(self, subject):
        path, exported = self.path(subject), self.export(subject)
        if os.path.exists(path):
            return
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        with_shapes = self.path(subject, "shapes")
        quant_pre_process(exported, with_shapes, skip_symbolic_shape=True)
        if self.scheme == "dynamic":
            quantize_dynamic(with_shapes, path, weight_type=QuantType.QInt8, per_channel=True)
            return

        class Reader(CalibrationDataReader):
            feeds = iter([{"pixels": pixels} for pixels in samples(subject)])

            def get_next(self):
                return next(self.feeds, None)

        quantize_static(with_shapes, path, Reader(), quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8,
                        weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=["MatMul", "Gemm", "Conv"])

    def load(self, subject):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = subject.threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = onnxruntime.InferenceSession(self.path(subject), options, providers=["CPUExecutionProvider"])
        return lambda pixels: session.run(None, {"pixels": pixels})[0], load_input(subject)


class OpenVino:
    """`stored` is what the model's file holds, fp32 or int8 by NNCF after training; `hint` what computes the rest: f32 or bf16."""

    def __init__(self, stored, hint):
        self.name = "OpenVINO" + (" with bf16" if (stored, hint) == ("int8", "bf16") else "")
        self.packages = ("openvino", "nncf") if stored == "int8" else ("openvino",)
        self.stored, self.hint = stored, hint

    def path(self, subject):
        return subject.path(f"openvino_{self.stored}_b{subject.batch}.xml")

    def prepare(self, subject):
        path = self.path(subject)
        if os.path.exists(path):
            return
        import openvino
        import torch

        pixels = torch.from_numpy(load_input(subject))
        model = openvino.convert_model(subjects.torch_model(subject), example_input=pixels)
        model.reshape(list(pixels.shape))
        if self.stored == "int8":
            import nncf

            images = samples(subject)
            model = nncf.quantize(model, nncf.Dataset(images), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(images))
        openvino.save_model(model, path, compress_to_fp16=False)

    def load(self, subject):
        import openvino

        settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": str(subject.threads),
                    "INFERENCE_PRECISION_HINT": self.hint, "ENABLE_CPU_PINNING": "NO"}  # the benchmark pins
        request = openvino.Core().compile_model(self.path(subject), "CPU", settings).create_infer_request()
        return lambda pixels: request.infer([pixels], share_inputs=True, share_outputs=True)[0], load_input(subject)


class LiteRt:
    name, packages = "LiteRT", ("ai-edge-litert", "litert-torch")

    def path(self, subject):
        return subject.path(f"litert_b{subject.batch}.tflite")

    def prepare(self, subject):
        path = self.path(subject)
        if os.path.exists(path):
            return
        import litert_torch
        import torch

        litert_torch.convert(subjects.torch_model(subject), (torch.from_numpy(load_input(subject)),)).export(path)

    def load(self, subject):
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=self.path(subject), num_threads=subject.threads)
        interpreter.allocate_tensors()
        source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

        def run(pixels):
            interpreter.set_tensor(source, pixels)
            interpreter.invoke()
            return interpreter.get_tensor(target)

        return run, load_input(subject)
