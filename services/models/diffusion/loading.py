"""Puts a diffusers pipeline together from a folder, a hub id, a single file, or what differs from a base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from services.core.checkpoints import checkpoint_source
from services.core.errors import SkillFailed
from services.models.diffusion.contract import DiffusionOptions
from services.models.diffusion.difference import FILE as DIFFERENCE
from services.models.diffusion.difference import applied, load_difference

SINGLE_FILES = (".safetensors", ".ckpt", ".pth", ".pt", ".bin")

SCHEDULERS = {
    "ddim": "DDIMScheduler",
    "pndm": "PNDMScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_ancestral": "EulerAncestralDiscreteScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
}

COMPONENTS = {"unet": "UNet2DConditionModel", "controlnet": "ControlNetModel"}


def load_pipeline(pipeline: str, source: str, component: str, options: DiffusionOptions, dtype: Any) -> Any:
    """A pipeline on the CPU, its progress bar off.

    Args:
        pipeline: name of the diffusers class.
        source: resolved checkpoint: folder, hub id, or a single file in the original project's layout.
        component: what `source` holds when `options.base` names the rest, "unet" or "controlnet": the network itself,
            or a folder `unet` with its difference from the base's, beside a `text_encoder` if that was tuned too.
        dtype: torch dtype of the weights.

    Raises:
        SkillFailed: a safety checker is asked for and the checkpoint has none, or it is the difference from another
            base.
    """
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    pipeline_class = getattr(diffusers, pipeline)
    extras: dict[str, Any] = {"dtype": dtype}
    if not options.safety_checker:
        extras |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    if options.base is not None:
        if (Path(source) / component / DIFFERENCE).is_file():
            extras |= _tuned(source, component, checkpoint_source(options.base), dtype)
        else:
            extras[component] = _load(getattr(diffusers, COMPONENTS[component]), source, options, {"dtype": dtype})
        loaded = _load(pipeline_class, checkpoint_source(options.base), options, extras)
    else:
        loaded = _load(pipeline_class, source, options, extras)
    if options.safety_checker and loaded.safety_checker is None:
        raise SkillFailed("The checkpoint has no safety checker: set safety_checker to false, or use one that has.")
    if options.scheduler is not None:
        scheduler = getattr(diffusers, SCHEDULERS[options.scheduler])
        loaded.scheduler = scheduler.from_config(loaded.scheduler.config)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def _tuned(source: str, component: str, base: str, dtype: Any) -> dict[str, Any]:
    """The networks of a checkpoint that keeps one as its difference from the base's."""
    import diffusers
    import transformers

    kind = getattr(diffusers, COMPONENTS[component])
    network = kind.from_config(kind.load_config(source, subfolder=component))
    shapes = {name: weight.shape for name, weight in network.state_dict().items()}
    start = kind.from_pretrained(base, subfolder=component).state_dict()
    weights = applied(load_difference(Path(source) / component), start, shapes)
    network.load_state_dict({name: weight.to(dtype) for name, weight in weights.items()}, assign=True)
    networks = {component: network}
    if (Path(source) / "text_encoder").is_dir():
        words = transformers.CLIPTextModel.from_pretrained(source, subfolder="text_encoder", dtype=dtype)
        networks["text_encoder"] = words
    return networks


def _load(loader: Any, source: str, options: DiffusionOptions, extras: dict[str, Any]) -> Any:
    """A pipeline or a single model, by what the source is."""
    if not is_single_file(source):
        return loader.from_pretrained(source, variant=options.variant, **extras)
    config = {} if options.config is None else {"config": checkpoint_source(options.config)}
    return loader.from_single_file(source, **config, **extras)


def is_single_file(source: str) -> bool:
    """Whether a checkpoint is one file, as the original projects publish them."""
    return source.endswith(SINGLE_FILES) and Path(source).is_file()
