"""Where a training run stands: everything that the next step depends on, in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from geoseg.errors import ModelError
from geoseg.files import input_file, replacing

FORMAT = "geoseg checkpoint 1"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State between two steps. Samples and schedule are functions of the step and need no state."""

    step: int
    """Steps done."""

    tensors: Mapping[str, Mapping[str, Tensor]]
    """By role (weights, mean weights, moments of the optimiser, best weights) and name."""

    facts: dict[str, Any] = field(default_factory=dict)
    """JSON: the configuration and the dataset it belongs to, best score, log."""

    def save(self, path: Path) -> None:
        """Write it, complete or not at all; what was there is replaced."""
        flat = {
            f"{role}/{name}": tensor.detach().cpu().contiguous()
            for role, tensors in self.tensors.items()
            for name, tensor in tensors.items()
        }
        header = {"format": FORMAT, "step": str(self.step), "facts": json.dumps(self.facts)}
        with replacing(path, overwrite=True) as scratch:
            save_file(flat, scratch, metadata=header)

    @staticmethod
    def load(path: Path) -> Checkpoint:
        """Read one. Raises ModelError when it is missing or no checkpoint."""
        file = input_file(path, ModelError)
        tensors: dict[str, dict[str, Tensor]] = {}
        try:
            with safe_open(file, framework="pt") as opened:
                header = opened.metadata() or {}
                for key in opened.keys():  # noqa: SIM118
                    role, _, name = key.partition("/")
                    tensors.setdefault(role, {})[name] = opened.get_tensor(key)
            if header["format"] != FORMAT:
                raise ValueError(f"format {header['format']!r}")
            return Checkpoint(int(header["step"]), tensors, json.loads(header["facts"]))
        except (SafetensorError, OSError, RuntimeError, ValueError, KeyError) as error:
            raise ModelError(
                f"{file}: is no checkpoint of this geoseg ({error}). start again without --resume"
            ) from error
