"""Checkpoint of a training run: everything that the next step depends on, in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from geoseg.errors import ModelError
from geoseg.files import input_file, replacing
from geoseg.training.config import TrainConfig, rename_keys

FORMAT = "geoseg checkpoint 1"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State of a run between two steps. Samples and learning rate are functions of the step and need no state."""

    step: int
    """Steps done."""

    tensors: Mapping[str, Mapping[str, Tensor]]
    """By role (weights, mean, exp_avg, exp_avg_sq, step, scaler, best) and name."""

    facts: dict[str, Any] = field(default_factory=dict)
    """JSON data: configuration, names of the dataset's scenes, best score, history."""

    def save(self, path: str | PathLike[str]) -> None:
        """Write the checkpoint atomically, replacing an earlier one."""
        flat = {
            f"{role}/{name}": tensor.detach().cpu().contiguous()
            for role, tensors in self.tensors.items()
            for name, tensor in tensors.items()
        }
        header = {"format": FORMAT, "step": str(self.step), "facts": json.dumps(self.facts)}
        with replacing(Path(path), overwrite=True) as scratch:
            save_file(flat, scratch, metadata=header)

    @staticmethod
    def load(path: str | PathLike[str]) -> Checkpoint:
        """Read a checkpoint. Raises ModelError if it is missing or not a checkpoint."""
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
                f"{file}: not a checkpoint of this version of geoseg ({error}). "
                "Start again without --resume"
            ) from error


def describe_configuration(config: TrainConfig, processes: int) -> dict[str, Any]:
    """Return, as JSON data, the settings that determine the weights of a run."""
    text = config.model_dump_json(exclude={"data": {"dataset"}, "card": True})
    return {**json.loads(text), "processes": processes}


def complete_configuration(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored configuration under the current keys, with defaults for keys that are newer than it."""
    stored = rename_keys(stored)
    sections = {name: section for name, section in stored.items() if name != "processes"}
    try:
        config = TrainConfig.model_validate_json(json.dumps(sections))
    except ValidationError:
        return dict(stored)
    return describe_configuration(config, int(stored.get("processes", 1)))


def list_differences(
    before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = ""
) -> list[str]:
    """List the settings that differ, each as ``name: before → now``."""
    changed = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            changed += list_differences(old, new, f"{prefix}{key}.")
        elif old != new:
            changed.append(f"{prefix}{key}: {old!r} → {new!r}")
    return changed
