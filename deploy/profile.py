"""Profiles: which skills and planner a deployment runs, in which Serve applications, with which limits.

A skill that no application lists is not offered. Several skills may share an application, and so a
process; which application answers for a skill is read from the profile alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from deploy.errors import UsageError
from planner.engine import EngineConfig
from services.core.checkpoints import checkpoint_source
from services.core.errors import SkillError
from services.core.loading import load_skill
from services.core.registry import DuplicateSkill, Registry, SkillClass, discover
from services.core.server import SkillConfig
from services.core.skill import Skill

PROFILES = Path(__file__).parent / "profiles"
PLANNER_APPLICATION = "planner"
EMBEDDED_MODEL = "embedded"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class AutoscalingConfig(_Section):
    """Ray Serve's autoscaling, by calls in flight."""

    min_replicas: int = Field(1, ge=0)
    max_replicas: int = Field(1, ge=1)
    target_ongoing_requests: float = Field(2.0, gt=0, description="Calls in flight that one replica should have.")
    upscale_delay_s: float = Field(5.0, ge=0)
    downscale_delay_s: float = Field(300.0, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> AutoscalingConfig:
        if self.min_replicas > self.max_replicas:
            raise ValueError("min_replicas is larger than max_replicas")
        return self


class Replicas(_Section):
    """What Ray Serve is told about a deployment."""

    num_replicas: int = Field(1, ge=1, description="Processes; ignored when `autoscaling` is given.")
    autoscaling: AutoscalingConfig | None = None
    num_cpus: float = Field(1.0, ge=0, description="Cores that Ray books for a replica (a booking, not a limit).")
    num_gpus: float = Field(0.0, ge=0)
    max_ongoing_requests: int = Field(8, ge=1, description="Calls that a replica works on or batches at a time.")
    max_queued_requests: int = Field(64, ge=-1, description="Calls that wait in each caller before back-pressure.")
    health_check_period_s: float = Field(1.0, gt=0, description="A dead replica is replaced within about twice this.")
    health_check_timeout_s: float = Field(30.0, gt=0, description="A replica silent for longer is replaced, seconds.")
    graceful_shutdown_timeout_s: float = Field(5.0, ge=0)


class ApplicationConfig(Replicas):
    """One Serve application: a process (or several alike) with one or more skills."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    skills: dict[str, SkillConfig] = Field(min_length=1, description="Skill name to its settings.")
    image_cache_bytes: int = Field(256 * 2**20, ge=0, description="Decoded pictures that a replica keeps, bytes.")
    intra_op_threads: int | None = Field(
        None, ge=1, description="Threads that one torch operation may use on a CPU; num_cpus (at least 1) when absent."
    )


class PlannerConfig(Replicas):
    """The planner: how it is prompted, and its engine."""

    served_name: str = Field("llava-plus", description="The model's name in the API.")
    dialect: Literal["json", "llava_plus_v0"] = "json"
    skills: tuple[str, ...] | None = Field(
        None, description="The skills that the planner is told of; all of the profile's when absent."
    )
    learned: tuple[str, ...] = Field(
        (), description="The skills that it was trained to use, in one order: dialect `json` does not describe them."
    )
    engine: EngineConfig = Field(description="vLLM's settings; its model `embedded` is built at the first start.")

    @property
    def embedded(self) -> bool:
        """Whether the model is the one that this package builds from the parts it carries."""
        return self.engine.model == EMBEDDED_MODEL


class RayConfig(_Section):
    """The local Ray."""

    num_cpus: float = Field(4, gt=0, description="What replicas may book in sum; a count, not cores of the machine.")
    num_gpus: float | None = Field(None, ge=0, description="None: found by Ray.")
    object_store_bytes: int = Field(128 * 2**20, ge=80 * 2**20, description="Shared memory of Ray's objects, bytes.")


class RedisConfig(_Section):
    """The embedded Redis (an external one, named by REDIS_URL, is configured by its owner)."""

    memory_bytes_max: int = Field(512 * 2**20, ge=2**20, description="Pictures and sessions beyond are evicted, bytes.")


class RequirementsConfig(_Section):
    """Checked before anything starts."""

    memory_free_bytes_min: int = Field(0, ge=0)
    disk_free_bytes_min: int = Field(0, ge=0)
    packages: tuple[str, ...] = Field((), description="Importable modules that the skills and the planner need.")


class Profile(_Section):
    """A whole deployment."""

    name: str
    applications: tuple[ApplicationConfig, ...]
    planner: PlannerConfig | None = None
    ray: RayConfig = RayConfig()
    redis: RedisConfig = RedisConfig()
    requirements: RequirementsConfig = RequirementsConfig()
    environment: dict[str, str] = Field(default_factory=dict, description="Variables of every process.")

    @model_validator(mode="after")
    def _unambiguous(self) -> Profile:
        seen: dict[str, str] = {}
        names = [PLANNER_APPLICATION]
        for application in self.applications:
            if application.name in names:
                raise ValueError(f"the application name {application.name!r} is taken")
            names.append(application.name)
            for skill in application.skills:
                if skill in seen:
                    raise ValueError(f"skill {skill!r} is in two applications: {seen[skill]} and {application.name}")
                seen[skill] = application.name
        unknown = [name for name in (self.planner.skills if self.planner else None) or () if name not in seen]
        if unknown:
            raise ValueError(f"planner.skills names {unknown[0]!r}, which no application has")
        return self

    def application_of(self) -> dict[str, str]:
        """Skill name -> Serve application that answers for it."""
        return {skill: app.name for app in self.applications for skill in app.skills}

    def check_skills(self) -> None:
        """Compare with the installed skills.

        Raises:
            UsageError: a skill is not registered (the message lists those that are), its class is not one, its
                options are wrong, its local checkpoint is not there, a composite's part is not offered, or the
                installed skills cannot be listed at all.
        """
        try:
            registry = discover()
        except (AttributeError, DuplicateSkill, ImportError, TypeError, ValueError) as error:
            raise UsageError(f"The installed skills cannot be listed: {' '.join(str(error).split())}") from None
        for application in self.applications:
            for name, config in application.skills.items():
                try:
                    self._check_skill(registry, name, config)
                except (UsageError, SkillError, ImportError, TypeError) as error:
                    where = f"Profile {self.name!r}, application {application.name!r}, skill {name!r}"
                    raise UsageError(f"{where}: {error}") from None

    def _check_skill(self, registry: Registry, name: str, config: SkillConfig) -> None:
        if config.skill_class is not None:
            skill = load_skill(name, config.skill_class)
            if skill.name != name:
                raise UsageError(f"{config.skill_class} is called {skill.name!r}; write that.")
        else:
            skill = registry.skill(name)
            if skill.name != name:
                raise UsageError(f"this is an alias; write {skill.name!r}.")
        if issubclass(skill, Skill):
            _check_settings(skill, config)
        else:
            self._check_composite(skill, config)

    def _check_composite(self, skill: SkillClass, config: SkillConfig) -> None:
        missing = [part.name for part in skill.parts if part.name not in self.application_of()]
        if missing:
            raise UsageError(f"it runs {' and '.join(missing)}, which no application of this profile offers: add it.")
        if config != SkillConfig.model_validate({"class": config.skill_class}):
            raise UsageError("it has no model of its own: settings belong to the skills that it runs.")


def _check_settings(skill: type[Skill[Any, Any]], config: SkillConfig) -> None:
    if config.checkpoint is not None:
        checkpoint_source(config.checkpoint)
    try:
        skill(config.checkpoint, config.device, **config.options)
    except ValidationError as error:
        raise UsageError(f"options: {'; '.join(_lines(error))}") from None


def load_profile(name_or_path: str) -> Profile:
    """Read a profile by its name (a file in `deploy/profiles`) or by path.

    Raises:
        UsageError: no such profile, or one with a mistake; one line that names the key.
    """
    path = profile_path(name_or_path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    if not isinstance(data, dict):
        raise UsageError(f"{path} must hold a mapping with `applications`.")
    try:
        return Profile.model_validate({"name": path.stem} | data)
    except ValidationError as error:
        raise UsageError(f"{path}: {'; '.join(_lines(error))}") from None


def profile_path(name_or_path: str) -> Path:
    """The YAML file that a name or path means.

    Raises:
        UsageError: there is none; the message lists the names.
    """
    is_path = "/" in name_or_path or name_or_path.endswith((".yaml", ".yml"))
    path = Path(name_or_path) if is_path else PROFILES / f"{name_or_path}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in PROFILES.glob("*.yaml")))
        raise UsageError(f"There is no profile {name_or_path!r}: name one of {names}, or the path of a YAML file.")
    return path.resolve()


def _lines(error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"]) or "profile"
        if problem["type"] == "extra_forbidden":
            yield f"unknown key `{where}`"
        else:
            yield f"`{where}`: {problem['msg'].removeprefix('Value error, ')}"
