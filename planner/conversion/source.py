"""Reads checkpoints one tensor at a time: safetensors or PyTorch files, one file or many."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

_SKIPPED = ("training_args.bin", "optimizer.bin", "scheduler.bin")


class ConversionError(ValueError):
    """The checkpoint cannot be converted as asked; the message says what to do."""


@dataclass(frozen=True)
class TensorInfo:
    """What is known of a tensor before it is read; `dtype` is torch's."""

    file: Path
    shape: tuple[int, ...]
    dtype: Any


class TensorFiles:
    """All tensors of a folder. Files are mapped, not read, so memory holds only what `read` returned.

    Raises:
        ConversionError: the folder has no weights, or two files hold the same tensor.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = _weight_files(folder)
        self._open: dict[Path, Any] = {}
        self.tensors: dict[str, TensorInfo] = {}
        for file in self.files:
            for name, info in self._infos(file).items():
                if name in self.tensors:
                    raise ConversionError(f"{name} is both in {self.tensors[name].file.name} and {file.name}.")
                self.tensors[name] = info

    def read(self, name: str) -> Any:
        """The tensor on the CPU, in its stored type."""
        file = self.tensors[name].file
        opened = self._open[file]
        return opened.get_tensor(name) if file.suffix == ".safetensors" else opened[name]

    def _infos(self, file: Path) -> Mapping[str, TensorInfo]:
        import torch
        from safetensors import SafetensorError, safe_open

        if file.suffix == ".safetensors":
            try:
                reader: Any = safe_open(file, framework="pt")
            except (SafetensorError, OSError) as error:
                raise _unreadable(file, error) from None
            self._open[file] = reader
            found = {}
            for name in reader.keys():  # noqa: SIM118  # not a mapping
                part = reader.get_slice(name)
                found[name] = TensorInfo(file, tuple(part.get_shape()), _dtype(part.get_dtype()))
            return found
        try:
            state = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
        except RuntimeError:  # written by a torch before 1.6: it cannot be mapped
            try:
                state = torch.load(file, map_location="cpu", weights_only=True)
            except (RuntimeError, UnpicklingError, EOFError) as error:
                raise _unreadable(file, error) from None
        except (UnpicklingError, EOFError, OSError) as error:
            raise _unreadable(file, error) from None
        if not isinstance(state, Mapping) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
            raise ConversionError(f"{file} holds something else than tensors by their names: move it away.")
        self._open[file] = state
        return {name: TensorInfo(file, tuple(t.shape), t.dtype) for name, t in state.items()}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a checkpoint.

    Raises:
        ConversionError: the file is missing or is no JSON object.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConversionError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise ConversionError(f"{path} is not JSON.") from None
    if not isinstance(data, dict):
        raise ConversionError(f"{path} must hold a JSON object.")
    return data


def _weight_files(folder: Path) -> list[Path]:
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if (folder / index).is_file():
            names = sorted(set(read_json(folder / index)["weight_map"].values()))
            missing = [name for name in names if not (folder / name).is_file()]
            if missing:
                raise ConversionError(f"{folder} lacks {missing[0]}, which {index} names: download it.")
            return [folder / name for name in names]
    found = sorted(folder.glob("*.safetensors"))
    found = found or [path for path in sorted(folder.glob("*.bin")) if path.name not in _SKIPPED]
    if not found:
        raise ConversionError(f"{folder} has no weights: neither *.safetensors nor *.bin.")
    return found


def _unreadable(file: Path, error: Exception) -> ConversionError:
    """As of a download that broke off, or a pointer of git-lfs that stands for the file."""
    reason = " ".join(str(error).split()).partition(". ")[0]
    return ConversionError(f"{file} ({file.stat().st_size} bytes) cannot be read: download it anew. ({reason[:200]})")


def _dtype(name: str) -> Any:
    import torch

    kinds = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32"}
    if name not in kinds:
        raise ConversionError(f"Weights of type {name} cannot be converted: convert the model before it was quantised.")
    return getattr(torch, kinds[name])
