from pathlib import Path

import pytest

from deploy.errors import UsageError
from deploy.profile import PROFILES, PlannerConfig, Profile, load_profile
from services.core.registry import BUILT_IN, DuplicateSkill, SkillClass, discover

NOOP = """
applications:
  - name: noop
    skills: {noop: {class: "benchmarks.noop_skill:Noop"}}
"""


def write(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("path", sorted(PROFILES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_profile_loads_by_name_and_lists_installed_skills(path: Path) -> None:
    profile = load_profile(path.stem)

    profile.check_skills()
    assert profile.name == path.stem


def test_a_profile_by_path_is_named_after_its_file(tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path, NOOP))

    assert (profile.name, profile.planner, profile.application_of()) == ("mine", None, {"noop": "noop"})


def test_a_skill_with_a_class_of_its_own_need_not_be_registered(tmp_path: Path) -> None:
    load_profile(write(tmp_path, NOOP)).check_skills()


def test_several_skills_may_share_an_application(tmp_path: Path) -> None:
    text = "applications: [{name: both, skills: {one: {class: 'm:One'}, two: {class: 'm:Two'}}}]"

    assert load_profile(write(tmp_path, text)).application_of() == {"one": "both", "two": "both"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("applications: [{name: a, skills: {easyocr: {devise: cpu}}}]", "applications.0.skills.easyocr.devise"),
        ("applications: []\nplaner: {}", "unknown key `planer`"),
        ("applications: [{name: a, skills: {}}]", "applications.0.skills"),
        ("applications: [{name: planner, skills: {easyocr: {}}}]", "'planner' is taken"),
        ("applications: [{name: a, skills: {easyocr: {}}}, {name: b, skills: {easyocr: {}}}]", "in two applications"),
        ("applications: [{name: a, skills: {easyocr: {}}, autoscaling: {min_replicas: 2}}]", "larger than max"),
        ("- a list", "must hold a mapping"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_mistake_in_a_profile_is_one_line_that_names_it(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        load_profile(write(tmp_path, text))

    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_unknown_skill_is_said_with_the_known_ones(tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path, "applications: [{name: a, skills: {easyorc: {}}}]"))

    with pytest.raises(UsageError, match=r"easyorc.*Known: .*easyocr"):
        profile.check_skills()


def test_a_class_that_does_not_exist_is_found_before_a_start(tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path, NOOP.replace(":Noop", ":Absent")))

    with pytest.raises(UsageError, match=r"benchmarks\.noop_skill:Absent"):
        profile.check_skills()


def test_an_alias_is_refused_with_the_name_to_write(tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path, "applications: [{name: a, skills: {ocr: {}}}]"))

    with pytest.raises(UsageError, match="write 'easyocr'"):
        profile.check_skills()


COMPOSITE = """
applications:
  - name: words
    skills: {echo: {class: "tests.skill_examples:Echo"}}
  - name: both
    skills: {echo+sketcher: {class: "tests.skill_examples:Doubler"%s}}
"""
SKETCHER = """
  - name: pictures
    skills: {sketcher: {class: "tests.skill_examples:Sketcher"}}
"""


def test_a_composites_parts_must_be_offered(tmp_path: Path) -> None:
    load_profile(write(tmp_path, COMPOSITE % "" + SKETCHER)).check_skills()
    with pytest.raises(UsageError, match=r"'echo\+sketcher': it runs sketcher, which no application .* add it"):
        load_profile(write(tmp_path, COMPOSITE % "")).check_skills()


def test_a_composite_takes_no_settings_of_a_model(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="it has no model of its own"):
        load_profile(write(tmp_path, COMPOSITE % ", checkpoint: org/eyes" + SKETCHER)).check_skills()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("options: {dtyp: bfloat16}", "'ram': options: unknown key `dtyp`"),
        ("options: {dtype: int8}", "'ram': options: `dtype`: Input should be"),
        ("checkpoint: embedded:nothing", "no embedded checkpoint 'nothing'"),
        ("checkpoint: ./gone.pth", "check the path in the profile"),
    ],
)
def test_a_skills_settings_are_checked_before_a_start(tmp_path: Path, settings: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        load_profile(write(tmp_path, f"applications: [{{name: a, skills: {{ram: {{{settings}}}}}}}]")).check_skills()
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["cpu", "gpu-1"])
def test_published_weights_are_named_for_every_skill(name: str) -> None:
    profile = load_profile(name)
    configs = {skill: config for app in profile.applications for skill, config in app.skills.items()}
    registry = discover()
    assert set(configs) == {spec.name for spec in registry.specs() if is_ours(registry.skill(spec.name))}
    for skill, config in configs.items():
        needs_none = registry.spec(skill).parts or skill == "easyocr"  # whose weights a package carries
        assert needs_none or (config.checkpoint and not config.checkpoint.startswith("embedded:")), skill


def test_one_gpu_has_room_for_all_that_books_a_part_of_it() -> None:
    profile = load_profile("gpu-1")
    replicas = [(app.autoscaling.max_replicas if app.autoscaling else app.num_replicas) for app in profile.applications]
    booked = sum(count * app.num_gpus for count, app in zip(replicas, profile.applications, strict=True))
    assert profile.planner is not None
    assert round(booked + profile.planner.num_gpus, 6) <= 1.0
    devices = {app.num_gpus > 0 for app in profile.applications}
    assert devices == {True}


def is_ours(skill: SkillClass) -> bool:
    return skill.__module__.startswith(BUILT_IN)


def test_an_unknown_profile_is_said_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="embedded"):
        load_profile("embeded")


@pytest.mark.parametrize("error", [DuplicateSkill("taken\ntwice"), TypeError("no docstring"), ImportError("no cv2")])
def test_installed_skills_that_cannot_be_listed_are_one_line_with_the_cause(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def discover() -> None:
        raise error

    monkeypatch.setattr("deploy.profile.discover", discover)

    with pytest.raises(UsageError, match=" ".join(str(error).split())) as raised:
        load_profile(write(tmp_path, NOOP)).check_skills()

    assert "\n" not in str(raised.value)


def test_tools_are_told_apart_by_what_the_profiles_planner_knows() -> None:
    from deploy.gateway import planner_tools

    config = PlannerConfig(skills=("easyocr", "sam"), learned=("sam",), engine={"model": "m"})
    assert [planner_tools(config).use(name) for name in ("sam", "easyocr", "ram")] == ["learned", "described", "none"]
    assert planner_tools(config.model_copy(update={"skills": None})).use("ram") == "described"
    assert planner_tools(None).use("ram") == "none"


def test_results_are_kept_by_the_weights_and_settings_that_a_profile_configures() -> None:
    from deploy.gateway import configured_weights

    sections = {
        "easyocr": {"checkpoint": "mine", "options": {"min_size": 3}},
        "ram": {},
        "grounding_dino": {},
        "ram+grounding_dino": {},
    }
    profile = Profile.model_validate({"name": "p", "applications": [{"name": "all", "skills": sections}]})
    weights = configured_weights(profile)
    assert weights["easyocr"].checkpoints == {"mine"}
    assert "min_size" in weights["easyocr"].settings
    assert (
        weights["ram+grounding_dino"].checkpoints == weights["ram"].checkpoints | weights["grounding_dino"].checkpoints
    )
