"""Runtimes with a format of their own: ONNX Runtime, OpenVINO, LiteRT. Models are converted from PyTorch at the batch size that
is measured; the settings are those for one request at a time on a fixed number of threads."""
import os

import subject as subjects


def load_input(subject):
    import numpy

    return numpy.load(subject.input)


class OnnxRuntime:
    name, packages = "ONNX Runtime", ("onnxruntime",)

    @staticmethod
    def path(subject):
        return subject.path(f"b{subject.batch}.onnx")

    @staticmethod
    def prepare(subject):
        path = OnnxRuntime.path(subject)
        if os.path.exists(path):
            return
        import torch

        pixels = torch.from_numpy(load_input(subject))
        torch.onnx.export(subjects.torch_model(subject), (pixels,), path, dynamo=True, external_data=False, opset_version=18,
                          input_names=["pixels"], output_names=["logits"], optimize=True, verbose=False)

    @staticmethod
    def load(subject):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = subject.threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = onnxruntime.InferenceSession(OnnxRuntime.path(subject), options, providers=["CPUExecutionProvider"])
        return lambda pixels: session.run(None, {"pixels": pixels})[0], load_input(subject)


class OpenVino:
    name, packages = "OpenVINO", ("openvino",)

    @staticmethod
    def path(subject):
        return subject.path(f"openvino_b{subject.batch}.xml")

    @staticmethod
    def prepare(subject):
        path = OpenVino.path(subject)
        if os.path.exists(path):
            return
        import openvino
        import torch

        pixels = torch.from_numpy(load_input(subject))
        model = openvino.convert_model(subjects.torch_model(subject), example_input=pixels)
        model.reshape(list(pixels.shape))
        openvino.save_model(model, path, compress_to_fp16=False)

    @staticmethod
    def load(subject):
        import openvino

        settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": str(subject.threads),
                    "INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": "NO"}  # the benchmark pins
        request = openvino.Core().compile_model(OpenVino.path(subject), "CPU", settings).create_infer_request()
        return lambda pixels: request.infer([pixels], share_inputs=True, share_outputs=True)[0], load_input(subject)


class LiteRt:
    name, packages = "LiteRT", ("ai-edge-litert", "litert-torch")

    @staticmethod
    def path(subject):
        return subject.path(f"litert_b{subject.batch}.tflite")

    @staticmethod
    def prepare(subject):
        path = LiteRt.path(subject)
        if os.path.exists(path):
            return
        import litert_torch
        import torch

        litert_torch.convert(subjects.torch_model(subject), (torch.from_numpy(load_input(subject)),)).export(path)

    @staticmethod
    def load(subject):
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=LiteRt.path(subject), num_threads=subject.threads)
        interpreter.allocate_tensors()
        source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

        def run(pixels):
            interpreter.set_tensor(source, pixels)
            interpreter.invoke()
            return interpreter.get_tensor(target)

        return run, load_input(subject)
