"""Where a network runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from geoseg.errors import ConfigError, ModelError
from geoseg.models.model_file import Model
from geoseg.models.onnx import onnx_graph


def gpu_bytes(device: str) -> int | None:
    """Four fifths of a GPU's memory; None for a device that shares the machine's."""
    return torch.cuda.mem_get_info()[1] * 4 // 5 if device == "cuda" else None


def choose_device(name: str) -> str:
    """``auto`` is the first of cuda, mps and cpu that is there. Raises ConfigError for one that is not."""
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return next(device for device, available in there.items() if available)
    if name not in there:
        raise ConfigError(f"device {name!r}: not one of auto, cpu, cuda, mps")
    if not there[name]:
        raise ConfigError(
            f"device {name!r}: this machine or this build of torch has none. use --device auto"
        )
    return name


# Networks that another runtime than torch computes.

Backend = Literal["auto", "torch", "onnx", "openvino"]

BACKENDS: tuple[Backend, ...] = ("auto", "torch", "onnx", "openvino")


class RuntimeNetwork(nn.Module):
    """An ONNX graph that looks like a torch network: float32 images → logits, both on the CPU.

    With `probabilities` the graph's output is taken for shares of the classes, whose logarithms are
    logits; a single share is that of the second of two classes.
    """

    def __init__(self, graph: bytes, backend: str, *, probabilities: bool = False) -> None:
        super().__init__()
        run, self.input_shape = (_openvino if backend == "openvino" else _onnxruntime)(graph)
        self._run = run
        self.probabilities = probabilities

    def raw(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the graph gives for (N, bands, H, W)."""
        output: NDArray[np.float32] = self._run(image)
        return output

    def forward(self, image: Tensor) -> Tensor:
        """(N, bands, H, W) → logits (N, classes, H, W)"""
        output = torch.from_numpy(self.raw(image.contiguous().numpy()))
        if not self.probabilities:
            if output.shape[1] == 1:  # of a sigmoid
                return torch.cat([torch.zeros_like(output), output], dim=1)
            return output
        if output.shape[1] == 1:
            output = torch.cat([1 - output, output], dim=1)
        return output.clamp_min(torch.finfo(torch.float32).tiny).log()


def on_backend(model: Model, backend: Backend) -> Model:
    """The same model, computed by `backend`; *auto* is torch for a geoseg model, onnx for an ONNX file.

    Raises ConfigError when the backend is not installed or cannot run such a model, ModelError when
    the network cannot be said in ONNX.
    """
    if backend == "auto" or (backend == "onnx" and isinstance(model.network, RuntimeNetwork)):
        return model
    if isinstance(model.network, RuntimeNetwork):
        raise ConfigError(
            f"--backend {backend}: {model.path.name} is an ONNX file. use --backend onnx, or auto"
        )
    if backend == "torch":
        return model
    graph = onnx_graph(model, softmax=False)
    return replace(model, network=RuntimeNetwork(graph, backend))


def _onnxruntime(graph: bytes) -> tuple[Any, list[int | str | None]]:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ConfigError("--backend onnx: is not installed. pip install 'geoseg[onnx]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False  # which would never give back what the largest window took
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of classes of its own
        raise ModelError(f"onnxruntime cannot run it ({_first_line(error)})") from error
    (image, *others), (output, *_) = session.get_inputs(), session.get_outputs()
    if others or image.type != "tensor(float)":
        raise ModelError("it does not take one float32 image")
    return lambda data: session.run([output.name], {image.name: data})[0], list(image.shape)


def _openvino(graph: bytes) -> tuple[Any, list[int | str | None]]:
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise ConfigError(
            "--backend openvino: is not installed. pip install 'geoseg[openvino]'"
        ) from error
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    core = openvino.Core()
    try:
        compiled = core.compile_model(core.read_model(graph), "CPU", settings)
    except RuntimeError as error:
        raise ModelError(f"OpenVINO cannot run it ({_first_line(error)})") from error
    return lambda data: compiled(data)[0].copy(), list(compiled.input(0).partial_shape)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
