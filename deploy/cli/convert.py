"""`llava-plus convert`: original LLaVA and LLaVA-Plus checkpoints into the layout that vLLM serves."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from deploy.errors import UsageError


def convert(
    source: Annotated[Path, typer.Argument(help="Folder of the original checkpoint (or of the delta).", exists=True)],
    target: Annotated[Path, typer.Argument(help="Folder to write; one of a cut run is continued.")],
    base: Annotated[Path | None, typer.Option(help="The model that SOURCE is a delta of.", exists=True)] = None,
    vision_tower: Annotated[Path | None, typer.Option(help="Folder of the CLIP model.", exists=True)] = None,
    turns: Annotated[str | None, typer.Option(help="Vicuna's form: v0 or v1; from the name when left out.")] = None,
    dtype: Annotated[str, typer.Option(help="stored, float16, bfloat16 or float32.")] = "float16",
    shard_mib: Annotated[int, typer.Option(help="Largest file, and so the memory needed, MiB.", min=1)] = 2048,
) -> None:
    """Rewrite an original LLaVA or LLaVA-Plus checkpoint so that vLLM and `llava-plus train` load it."""
    from pydantic import TypeAdapter, ValidationError

    from planner.conversion.source import ConversionError
    from planner.convert import Options
    from planner.convert import convert as run

    settings = {"base": base, "tower": vision_tower, "turns": turns, "dtype": dtype, "shard_bytes": shard_mib * 2**20}
    try:
        options = TypeAdapter(Options).validate_python(settings)
        run(source, target, options, _Progress())
    except ValidationError as error:
        raise UsageError(f"--{error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}.") from None
    except ConversionError as error:
        raise UsageError(str(error)) from None
    typer.echo(f"Converted: {target}. Serve it with `planner.engine.model: {target}` in a profile.")


class _Progress:
    def __init__(self) -> None:
        self._begun = time.monotonic()

    def __call__(self, done: int, total: int, name: str) -> None:
        left = (time.monotonic() - self._begun) * (total - done) / max(done, 1)
        typer.echo(f"{name}: {done / 2**30:.2f} of {total / 2**30:.2f} GiB, {left:.0f} s left")
