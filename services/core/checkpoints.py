"""Where weights come from: a hub id, a local folder or file, or the tiny checkpoints that this package ships."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from services.core.errors import SkillFailed

EMBEDDED_PREFIX = "embedded:"
EMBEDDED_PACKAGE = "services.embedded.weights"


def checkpoint_source(checkpoint: str) -> str:
    """What `from_pretrained` and the loaders of original files take.

    Args:
        checkpoint: `embedded:NAME` for a checkpoint of the embedded world, the path of a folder or file (absolute,
            or starting with `.` or `~`), or a hub id such as `facebook/sam-vit-huge`.

    Returns:
        An absolute path where `checkpoint` means a local one, the hub id unchanged otherwise.

    Raises:
        SkillFailed: a local checkpoint is not there; the message says what to do.
    """
    if checkpoint.startswith(EMBEDDED_PREFIX):
        return str(_embedded(checkpoint.removeprefix(EMBEDDED_PREFIX)))
    if not checkpoint.startswith(("/", ".", "~")):
        return checkpoint
    path = Path(checkpoint).expanduser().resolve()
    if not path.exists():
        raise SkillFailed(f"The checkpoint {checkpoint} is not there: check the path in the profile.")
    return str(path)


def _embedded(name: str) -> Path:
    package = find_spec(EMBEDDED_PACKAGE)
    roots = package.submodule_search_locations if package else None
    for root in roots or ():
        folder = Path(root) / name
        if (folder / "model_card.json").is_file():
            return folder
    raise SkillFailed(f"There is no embedded checkpoint {name!r}: train it with `llava-plus embedded train {name}`.")
