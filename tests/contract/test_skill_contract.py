"""What every skill promises, whatever it is: one suite over all that are registered, on tiny random checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from services.core.composite import Composite
from services.core.errors import BadArguments
from services.core.registry import SkillClass
from tests.contract.skill_arguments import arguments
from tests.contract.skill_checks import check_alike, check_answer
from tests.contract.skill_subjects import Subject, Subjects, built_in, decoded_uploads, noise, tiny_module, uploads


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subjects]:
    torch = pytest.importorskip("torch", reason="most skills run on torch")
    threads = torch.get_num_threads()
    # Models this small gain nothing from threads, and lose much where others use the machine.
    torch.set_num_threads(1)
    yield Subjects(tmp_path_factory.mktemp("tiny"))
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=built_in(), ids=lambda skill: skill.name)
def subject(request: pytest.FixtureRequest, subjects: Subjects) -> Subject:
    skill: SkillClass = request.param
    return subjects.subject(skill)


def test_every_skill_has_a_tiny_checkpoint_to_be_tested_with() -> None:
    models = [skill for skill in built_in() if not issubclass(skill, Composite)]
    assert [skill.name for skill in models if find_spec(tiny_module(skill)) is None] == []


@pytest.mark.parametrize("name", uploads())
def test_skills_are_given_upright_rgb_pictures(name: str) -> None:
    picture = decoded_uploads()[name]
    assert picture.mode == "RGB"
    assert picture.size == uploads()[name][1]


def test_any_picture_is_answered(subject: Subject) -> None:
    pictures = list(decoded_uploads().values())
    calls = [
        subject.call(subject.examples[index % len(subject.examples)], picture) for index, picture in enumerate(pictures)
    ]
    for call, answer in zip(calls, subject.answers(calls), strict=True):
        check_answer(subject.spec, call, answer)
        assert not isinstance(answer, BadArguments), answer


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_arguments_are_answered_or_refused_with_a_reason(subject: Subject, data: st.DataObject) -> None:
    args = data.draw(arguments(subject.spec))
    try:
        call = subject.call(args, noise(64, 48))
    except ValidationError as error:
        refused = BadArguments.from_validation(subject.spec.name, error)
        assert refused.message.startswith(f"{subject.spec.name}: argument")
        return
    (answer,) = subject.answers([call])
    check_answer(subject.spec, call, answer)


def test_the_same_call_is_answered_the_same_twice(subject: Subject) -> None:
    for args in subject.examples:
        call = subject.call(args, noise(64, 48))
        assert subject.answers([call]) == subject.answers([call])


def test_a_batch_of_mixed_calls_is_answered_in_order_and_as_one_by_one(subject: Subject) -> None:
    pictures = [noise(64, 48, seed=1), noise(48, 64, seed=2), noise(64, 48, seed=3)]
    calls = [
        subject.call(subject.examples[index % len(subject.examples)], picture) for index, picture in enumerate(pictures)
    ]
    together = subject.answers(calls)
    assert len(together) == len(calls)
    for call, answer in zip(calls, together, strict=True):
        (alone,) = subject.answers([call])
        check_alike(answer, alone, subject.spec.name)
