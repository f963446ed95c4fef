from __future__ import annotations

import pickle
import subprocess
import sys
from types import SimpleNamespace

import pytest

from services.core import errors
from services.core.checksums import verify_sha256
from services.core.loading import load_skill
from services.core.registry import DuplicateSkill, Registry, discover
from services.core.skill import Skill
from services.core.spec import SkillSpec, Symbol
from services.core.types import Box, SkillArgs, SkillResult
from tests.skill_examples import Echo, Looker, Sketcher

ALL_ERRORS = [
    errors.BadArguments,
    errors.UnknownSkill,
    errors.ImageNotFound,
    errors.SkillUnavailable,
    errors.SkillOverloaded,
    errors.DeadlineExceeded,
    errors.SkillFailed,
]


def test_a_spec_is_read_off_the_class() -> None:
    described = Echo.spec().describe()
    assert described["name"] == "echo"
    assert described["aliases"] == ["parrot"]
    assert described["summary"] == "Says the text back."
    assert described["arguments"]["required"] == ["text"]
    assert described["arguments"]["additionalProperties"] is False
    assert described["result"]["properties"]["batch_size"]["type"] == "integer"


def test_specs_of_all_installed_skills_import_neither_torch_nor_ray() -> None:
    code = (
        "import sys; from services.core.registry import discover; "
        "assert [s.describe() for s in discover().specs()]; "
        "assert not {'torch', 'ray', 'easyocr', 'transformers'} & set(sys.modules), 'heavy import'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_skill_without_a_docstring_is_told_to_get_one() -> None:
    bare = type("Bare", (Echo,), {"name": "bare", "__doc__": None})
    with pytest.raises(TypeError, match="needs a docstring"):
        SkillSpec.of(bare)


def test_a_skill_without_a_name_is_told_to_get_one() -> None:
    class Nameless(Echo):
        """Has no name."""

        name = ""

    with pytest.raises(TypeError, match="needs a class attribute `name`"):
        Nameless.spec()


def test_what_a_skill_produces_is_listed_by_the_field_that_carries_it() -> None:
    assert Sketcher.spec().produces == {"edited_image": "image", "image_seg": "image_seg", "masks_rle": "mask"}


@pytest.mark.parametrize(
    ("symbol", "told"), [(Symbol.MASK, "needs a field `mask_rle` or `masks_rle`"), (Symbol.REFERENCE_MASK, "cannot")]
)
def test_a_skill_must_have_a_field_for_what_it_produces(symbol: Symbol, told: str) -> None:
    class Boaster(Echo):
        """Produces what it has no field for."""

        name = "boaster"
        produces = frozenset({symbol})

    with pytest.raises(TypeError, match=told):
        Boaster.spec()


def test_a_name_that_is_taken_names_both_classes() -> None:
    class Parrot(Looker):
        """Claims another skill's alias."""

        name = "parrot"

    with pytest.raises(DuplicateSkill, match=r"'parrot' is taken by .*Echo and .*Parrot"):
        Registry([Echo, Parrot])


def test_a_skill_answers_to_its_aliases() -> None:
    registry = Registry([Echo, Looker])
    assert registry.skill("parrot") is Echo
    assert [spec.name for spec in registry.specs()] == ["echo", "looker"]


def test_an_unknown_skill_lists_the_known_ones() -> None:
    with pytest.raises(errors.UnknownSkill, match=r"No skill is called 'ocr2'. Known: echo, looker"):
        Registry([Echo, Looker]).spec("ocr2")


def test_skills_of_other_packages_come_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = SimpleNamespace(name="echo", load=lambda: Echo)
    monkeypatch.setattr("services.core.registry.entry_points", lambda group: [point])
    assert "echo" in {spec.name for spec in discover().specs()}


def test_an_entry_point_that_is_no_skill_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    point = SimpleNamespace(name="broken", load=lambda: dict)
    monkeypatch.setattr("services.core.registry.entry_points", lambda group: [point])
    with pytest.raises(TypeError, match=r"'broken'.*must name a Skill subclass"):
        discover()


def test_a_profile_may_name_a_class_that_no_registry_lists() -> None:
    assert load_skill("echo", "tests.skill_examples:Echo") is Echo
    with pytest.raises(TypeError, match="must be `module:Class`"):
        load_skill("echo", "tests.skill_examples:EchoArgs")


@pytest.mark.parametrize("error_type", ALL_ERRORS)
def test_errors_cross_processes_as_data_and_as_pickles(error_type: type[errors.SkillError]) -> None:
    error = error_type("Do this.", argument="boxes", retry_after_s=3)
    for copy in (errors.SkillError.from_wire(error.to_wire()), pickle.loads(pickle.dumps(error))):
        assert type(copy) is error_type
        assert (copy.message, copy.details) == (error.message, error.details)


def test_an_error_of_an_unknown_kind_becomes_a_failure() -> None:
    assert type(errors.SkillError.from_wire({"kind": "from_the_future", "message": "?"})) is errors.SkillFailed


def test_observations_round_coordinates_to_two_decimals() -> None:
    class Found(SkillResult):
        boxes: list[Box]
        note: str | None = None

    found = Found(boxes=[(0.12345, 0.0, 1.0, 0.98765)])
    assert found.observation(brief=False) == {"boxes": [[0.12, 0.0, 1.0, 0.99]]}


@pytest.mark.parametrize("box", [(0.5, 0.0, 0.4, 1.0), (0.0, 0.9, 1.0, 0.1), (-0.1, 0.0, 1.0, 1.0)])
def test_boxes_must_be_ordered_and_inside_the_picture(box: tuple[float, ...]) -> None:
    class WithBox(SkillArgs):
        box: Box

    with pytest.raises(ValueError, match="box"):
        WithBox.model_validate({"box": box})


def test_weights_with_a_wrong_checksum_are_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("weights") / "model.pth"
    path.write_bytes(b"not the weights")
    with pytest.raises(errors.SkillFailed, match=r"model\.pth has checksum .* damaged or not the published one"):
        verify_sha256(path, "0" * 64)
    with pytest.raises(errors.SkillFailed, match=r"gone\.pth is missing"):
        verify_sha256(path.with_name("gone.pth"), "0" * 64)


def test_a_skill_runs_without_ray() -> None:
    from services.core.skill import SkillCall
    from tests.skill_examples import EchoArgs

    skill: Skill[EchoArgs, SkillResult] = Echo()
    skill.setup()
    (answer,) = skill.predict([SkillCall(args=EchoArgs(text="hello"))])
    assert isinstance(answer, SkillResult)
    assert answer.model_dump() == {"text": "hello", "batch_size": 1}
