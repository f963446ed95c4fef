"""`llava-plus plug`: teach the running planner a new skill."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from deploy.errors import DeployError, UsageError

TRAINING = Path(__file__).parents[2] / "planner" / "train" / "configs" / "plug.yaml"


def plug(
    skill: Annotated[str, typer.Argument(help="The skill: `module:Class`, or the name of an installed one.")],
    questions: Annotated[Path, typer.Option(help="Seed questions, one a line.", exists=True)],
    folder: Annotated[Path | None, typer.Option(help="Where everything goes; runs/plug/NAME when absent.")] = None,
    training: Annotated[Path, typer.Option(help="How the adapter is trained (YAML).", exists=True)] = TRAINING,
    replay: Annotated[Path | None, typer.Option(help="Samples of what the planner knows.", exists=True)] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Pictures to ask about; the skill is run on them.", exists=True, file_okay=False)
    ] = None,
    checkpoint: Annotated[str | None, typer.Option(help="The skill's weights, where it is run.")] = None,
    also: Annotated[str, typer.Option(help="Other skills that the planner is told of, with commas between.")] = "",
    samples: Annotated[int, typer.Option(help="Samples of the new skill.", min=8)] = 400,
    choice_min: Annotated[float, typer.Option(help="Right choices below which it is not put in service.")] = 0.9,
    needless_max: Annotated[
        float, typer.Option(help="Needless calls, as a share of other requests, above which it is not put in service.")
    ] = 0.1,
    serve: Annotated[bool, typer.Option(help="Put the adapter in service in the platform that runs here.")] = True,
) -> None:
    """Teach the planner a new skill: build data from seed questions, train an adapter, score it, put it in service."""
    from planner.plug.run import PlugOptions
    from planner.plug.run import plug as run
    from planner.plug.seeds import SeedError
    from planner.train.config import ConfigError
    from services.core.errors import SkillError
    from services.core.loading import load_skill

    try:
        found = load_skill(skill, skill if ":" in skill else None)
        spec = found.spec()
        options = PlugOptions(
            folder=folder or Path("runs") / "plug" / spec.name.replace("+", "_"),
            training=yaml.safe_load(training.read_text(encoding="utf-8")),
            replay=replay,
            samples=samples,
            pictures=pictures,
            skills=tuple(name.strip() for name in also.split(",") if name.strip()),
        )
        results = None if pictures is None else _running(found, checkpoint)
        made = run(spec, questions, options, typer.echo, results)
    except yaml.YAMLError as error:
        raise UsageError(f"{training} is not YAML: {' '.join(str(error).split())}") from None
    except (SeedError, ConfigError, ImportError, TypeError, SkillError) as error:
        raise UsageError(str(error)) from None
    if made is None:
        return
    adapter = options.folder / "adapter"
    if made.choice < choice_min:
        raise DeployError(
            f"Not put in service: {made.choice:.0%} of held-out questions choose {spec.name}, {choice_min:.0%} are "
            f"asked for. Write more questions and name another --folder, or lower --choice-min. The adapter is in "
            f"{adapter}."
        )
    if made.needless > needless_max:
        raise DeployError(
            f"Not put in service: {made.needless:.0%} of other requests choose {spec.name} too, {needless_max:.0%} are "
            "allowed. Name more samples of what the planner knows (--replay), or raise --needless-max. The adapter is "
            f"in {adapter}."
        )
    if serve:
        in_service(spec.name, adapter)
        typer.echo(f'In service. Offer the skill in the profile too: `{spec.name}: {{class: "{skill}"}}`.')


def in_service(skill: str, adapter: Path) -> None:
    """Load the adapter into the running planner, beside the others, and let it answer."""
    from deploy.cli.planner import ask

    name = skill.replace("+", "_")
    ask({"do": "add", "name": name, "folder": str(adapter.resolve()), "skills": [skill], "active": True})


def _running(found: Any, checkpoint: str | None) -> Any:
    """Runs the skill in this process on a picture from disk."""
    from hashlib import sha256

    from PIL import Image

    from planner.plug.seeds import SeedError
    from services.core.errors import SkillError
    from services.core.skill import Skill, SkillCall
    from services.core.spec import Symbol

    if not issubclass(found, Skill):
        raise UsageError("A composite cannot be run alone: leave --pictures out, and calls alone are taught.")
    skill: Any = found(checkpoint or found.default_checkpoint, "cpu")
    skill.setup()

    def opened(path: Path) -> Image.Image:
        try:
            with Image.open(path) as picture:
                return picture.convert("RGB")
        except OSError:
            raise SeedError(f"{path} cannot be read as a picture: remove it.") from None

    def run(arguments: dict[str, Any], path: Path | None) -> dict[str, Any] | None:
        images = {} if path is None else {Symbol.IMAGE: opened(path)}
        (result,) = skill.predict([SkillCall(found.Args.model_validate(arguments), images)])
        if isinstance(result, SkillError):
            return None
        # Planners are shown handles of the pictures that a skill makes.
        made = {
            name: f"img_{sha256(value.tobytes()).hexdigest()[:40]}"
            for name, value in result
            if isinstance(value, Image.Image)
        }
        observation: dict[str, Any] = result.model_copy(update=made).observation(brief=True)
        return observation

    return run
