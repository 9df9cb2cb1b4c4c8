"""Device of a network, its free memory, and networks that another runtime than torch computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from geoseg.errors import ConfigError, ModelError


def choose_device(name: str) -> str:
    """Return the device `name`; *auto* selects the first available of cuda, mps and cpu.

    Raises ConfigError if the device is unknown or not available.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return next(device for device, usable in available.items() if usable)
    if name not in available:
        raise ConfigError(f"--device {name}: unknown device. Use auto, cpu, cuda or mps")
    if not available[name]:
        raise ConfigError(
            f"--device {name}: not available on this machine or in this build of torch. "
            "Use --device auto"
        )
    return name


def free_gpu_memory(device: str) -> int | None:
    """Return four fifths of the free memory of the GPU in bytes; None for other devices.

    Memory that torch has cached for this process counts as free.
    """
    if device != "cuda":
        return None
    free, _total = torch.cuda.mem_get_info()
    cached = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    return (free + cached) * 4 // 5


class RuntimeNetwork(nn.Module):
    """An ONNX graph with the interface of a torch network, computed on the CPU.

    Parameters
    ----------
    graph
        Bytes of an ONNX model.
    backend
        *onnx* or *openvino*.
    probabilities
        The graph outputs probabilities; their logarithms are the logits. One output channel is the
        probability of the second of two classes.
    objects
        The second output of the graph has the logits of object outputs.
    """

    def __init__(
        self, graph: bytes, backend: str, *, probabilities: bool = False, objects: bool = False
    ) -> None:
        super().__init__()
        run, self.input_shape = (_openvino if backend == "openvino" else _onnxruntime)(graph)
        self._run = run
        self.probabilities, self.objects = probabilities, objects

    def run_graph(
        self, image: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Return the output of the graph for a (N, bands, H, W) image, and that of objects if it has any."""
        first, *others = self._run(image, 1 + self.objects)
        return first, others[0] if others else None

    def forward(self, image: Tensor) -> Tensor:
        """Convert (N, bands, H, W) to logits (N, classes, H, W), followed by those of objects."""
        classes, objects = self.run_graph(image.contiguous().numpy())
        logits = self._to_logits(torch.from_numpy(classes))
        return logits if objects is None else torch.cat([logits, torch.from_numpy(objects)], dim=1)

    def _to_logits(self, output: Tensor) -> Tensor:
        if not self.probabilities:
            if output.shape[1] == 1:  # logit of a sigmoid
                return torch.cat([torch.zeros_like(output), output], dim=1)
            return output
        if output.shape[1] == 1:
            output = torch.cat([1 - output, output], dim=1)
        return output.clamp_min(torch.finfo(torch.float32).tiny).log()


def _onnxruntime(graph: bytes) -> tuple[Any, list[int | str | None]]:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ConfigError(
            "--backend onnx: onnxruntime is not installed. Run pip install 'geoseg[onnx]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False  # the arena never returns the memory of the largest window
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of classes of onnxruntime
        raise ModelError(f"onnxruntime cannot run it ({_first_line(error)})") from error
    (image, *others), outputs = session.get_inputs(), [o.name for o in session.get_outputs()]
    if others or image.type != "tensor(float)":
        raise ModelError("it does not take one float32 image")

    def run(data: NDArray[np.float32], count: int) -> list[NDArray[np.float32]]:
        found: list[NDArray[np.float32]] = session.run(outputs[:count], {image.name: data})
        return found

    return run, list(image.shape)


def _openvino(graph: bytes) -> tuple[Any, list[int | str | None]]:
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise ConfigError(
            "--backend openvino: OpenVINO is not installed. Run pip install 'geoseg[openvino]'"
        ) from error
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    core = openvino.Core()
    try:
        compiled = core.compile_model(core.read_model(graph), "CPU", settings)
    except RuntimeError as error:
        raise ModelError(f"OpenVINO cannot run it ({_first_line(error)})") from error

    def run(data: NDArray[np.float32], count: int) -> list[NDArray[np.float32]]:
        outputs = compiled(data)
        return [outputs[i].copy() for i in range(min(count, len(compiled.outputs)))]

    return run, list(compiled.input(0).partial_shape)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
