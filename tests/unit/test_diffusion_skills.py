from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

pytest.importorskip("diffusers", reason="diffusion skills run on diffusers")

from services.core.errors import BadArguments, SkillFailed
from services.core.loading import load_skill
from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.models.diffusion.contract import PaintedPicture
from services.models.diffusion.keeping import kept
from services.models.diffusion.loading import SCHEDULERS
from services.skills.inpainting import cell_mask

NAMES = ("stable_diffusion", "instruct_pix2pix", "inpainting", "controlnet")
Loaded = dict[str, Any]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """All four skills with tiny random weights."""
    skills: Loaded = {}
    for name in NAMES:
        tiny = importlib.import_module(f"tests.tiny.{name}")
        skills[name] = load_skill(name)(tiny.make(tmp_path_factory.mktemp(name)), **tiny.OPTIONS)
        skills[name].setup()
    return skills


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def mask(width: int, height: int, box: tuple[int, int, int, int]) -> Image.Image:
    drawn = Image.new("RGB", (width, height))
    drawn.paste((255, 255, 255), box)
    return drawn


def call(
    skill: Any, shape: tuple[int, int] = (64, 64), marked: Image.Image | None = None, **args: Any
) -> SkillCall[Any]:
    width, height = shape
    pictures = {
        Symbol.IMAGE: noise(width, height),
        Symbol.MASK: marked or mask(width, height, (0, 0, max(1, width // 2), height)),
        Symbol.IMAGE_SEG: noise(width, height, seed=1),
    }
    given = {"prompt": "a dog on a beach", "seed": 7, **args}
    return SkillCall(skill.Args(**given), {symbol: pictures[symbol] for symbol in skill.consumes})


def paint(skill: Any, *calls: SkillCall[Any]) -> list[PaintedPicture]:
    answers = skill.predict(calls)
    assert all(isinstance(answer, PaintedPicture) for answer in answers)
    return list(answers)


def pixels(answer: PaintedPicture) -> NDArray[np.int64]:
    assert isinstance(answer.edited_image, Image.Image)
    assert answer.edited_image.mode == "RGB"
    assert answer.edited_image.size == (answer.size.width, answer.size.height)
    return np.asarray(answer.edited_image).astype(np.int64)


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_repeats_a_picture_whatever_else_is_in_the_batch(loaded: Loaded, name: str) -> None:
    skill = loaded[name]
    other, asked = paint(skill, call(skill, seed=1), call(skill, seed=2))
    (alone,) = paint(skill, call(skill, seed=2))
    assert np.abs(pixels(asked) - pixels(alone)).max() <= 1
    assert np.abs(pixels(other) - pixels(alone)).max() > 20


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_that_is_not_given_is_drawn_and_reported(loaded: Loaded, name: str) -> None:
    skill = loaded[name]
    first, second = paint(skill, call(skill, seed=None), call(skill, seed=None))
    assert first.seed != second.seed
    (again,) = paint(skill, call(skill, seed=second.seed))
    assert np.abs(pixels(again) - pixels(second)).max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_each_call_is_told_its_denoising_steps(loaded: Loaded, name: str) -> None:
    skill = loaded[name]
    told: tuple[list[tuple[int, int]], ...] = ([], [])
    first, second = (
        replace(call(skill, steps=3), report=lambda step, steps, heard=heard: heard.append((step, steps)))
        for heard in told
    )
    paint(skill, first, second)
    taken = len(told[0])
    assert taken in (3, 4), "some schedulers take one more"
    assert told == ([(step, taken) for step in range(1, taken + 1)],) * 2


@pytest.mark.parametrize("size", [(1, 1), (400, 20), (37, 53), (3, 200)])
@pytest.mark.parametrize("name", NAMES[1:])
def test_the_result_has_the_given_pictures_size(loaded: Loaded, name: str, size: tuple[int, int]) -> None:
    skill = loaded[name]
    (answer,) = paint(skill, call(skill, size, steps=1))
    pixels(answer)
    assert (answer.size.width, answer.size.height) == size
    assert answer.steps == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_blank_prompt_fails_its_own_call_alone(loaded: Loaded, name: str) -> None:
    skill = loaded[name]
    blank, good = skill.predict([call(skill, prompt=" \n"), call(skill, steps=1)])
    assert isinstance(blank, BadArguments)
    assert blank.details == {"argument": "prompt"}
    assert isinstance(good, PaintedPicture)


@pytest.mark.parametrize("name", NAMES)
def test_any_text_is_a_prompt(loaded: Loaded, name: str) -> None:
    skill = loaded[name]
    paint(skill, call(skill, prompt="Ein Hündchen 🐶 <|endoftext|> \x00" * 40, negative_prompt="\N{SNOWMAN}", steps=1))


def test_calls_that_share_size_and_settings_share_one_pipeline_call(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    skill = loaded["instruct_pix2pix"]
    pipe, seen = skill._pipe, []

    class Counting:
        unet, vae_scale_factor = pipe.unet, pipe.vae_scale_factor

        def __call__(self, **settings: Any) -> Any:
            seen.append(len(settings["prompt"]))
            return pipe(**settings)

    monkeypatch.setattr(skill, "_pipe", Counting())
    kinds = [{}, {"steps": 1}, {}, {"guidance": 3.0}, {"image_guidance": 2.0}, {"seed": 9, "prompt": "a cat"}]
    answers = paint(skill, *(call(skill, **kind) for kind in kinds), call(skill, (128, 128)), call(skill, (90, 60)))
    assert sorted(seen) == [1, 1, 1, 1, 4]
    assert [answer.steps for answer in answers] == [2, 1, 2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("scheduler", sorted(SCHEDULERS))
def test_every_scheduler_paints_with_few_steps(tmp_path: Path, scheduler: str) -> None:
    from tests.tiny.stable_diffusion import make

    skill = load_skill("stable_diffusion")(make(tmp_path), scheduler=scheduler, side=32)
    skill.setup()
    several, one = paint(skill, call(skill, steps=4), call(skill, steps=1))
    assert pixels(several).shape == pixels(one).shape == (32, 32, 3)


def test_a_new_picture_has_the_size_asked_for(loaded: Loaded) -> None:
    skill = loaded["stable_diffusion"]
    wide, usual = paint(skill, call(skill, size=(150, 70)), call(skill))
    assert (wide.size.width, wide.size.height) == (150, 70)
    assert (usual.size.width, usual.size.height) == (32, 32)


def test_the_size_of_results_can_be_set_apart_from_what_the_model_paints_at(tmp_path: Path) -> None:
    from tests.tiny.stable_diffusion import make

    skill = load_skill("stable_diffusion")(make(tmp_path), steps=1, side=32, output_side=96)
    skill.setup()
    (answer,) = paint(skill, call(skill))
    assert pixels(answer).shape == (96, 96, 3)
    assert skill.working_size((96, 96)) == (32, 32)


@pytest.mark.parametrize("box", [(10, 10, 40, 30), (99, 59, 100, 60), (0, 0, 100, 60)])
def test_inpainting_leaves_everything_outside_the_mask_exactly_as_it_was(
    loaded: Loaded, box: tuple[int, int, int, int]
) -> None:
    skill = loaded["inpainting"]
    asked = call(skill, (100, 60), marked=mask(100, 60, box))
    (answer,) = paint(skill, asked)
    before = np.asarray(asked.image).astype(np.int64)
    inside = np.asarray(asked.images[Symbol.MASK])[:, :, 0] > 127
    assert np.array_equal(pixels(answer)[~inside], before[~inside])
    assert np.abs(pixels(answer)[inside] - before[inside]).max() > 0


def test_inpainting_takes_a_mask_of_another_size(loaded: Loaded) -> None:
    skill = loaded["inpainting"]
    asked = call(skill, (100, 60), marked=mask(10, 6, (0, 0, 5, 6)))
    (answer,) = paint(skill, asked)
    changed = (pixels(answer) != np.asarray(asked.image)).any(axis=(0, 2))
    assert changed[:50].mean() > 0.9
    assert not changed[50:].any()


def test_inpainting_closer_paints_on_what_is_around_the_mask_alone(tmp_path: Path) -> None:
    from tests.tiny.inpainting import OPTIONS, make

    make(tmp_path)
    painted = {}
    for closer in (None, 2.0):
        skill = load_skill("inpainting")(str(tmp_path), **{**OPTIONS, "closer": closer})
        skill.setup()
        asked = call(skill, (200, 120), marked=mask(200, 120, (150, 40, 190, 60)), seed=3)
        elsewhere = asked.image.copy()
        elsewhere.paste((255, 0, 0), (0, 0, 90, 120))
        other = replace(asked, images={**asked.images, Symbol.IMAGE: elsewhere})
        painted[closer] = [pixels(answer) for answer in paint(skill, asked, other)]
    for one, _ in painted.values():
        assert one.shape == (120, 200, 3)
        changed = np.argwhere((one != np.asarray(asked.image)).any(axis=2))
        assert changed.min(axis=0).tolist() == [40, 150]
        assert changed.max(axis=0).tolist() == [59, 189]
    inside = np.s_[40:60, 150:190]
    assert np.array_equal(*(one[inside] for one in painted[2.0]))
    assert not np.array_equal(*(one[inside] for one in painted[None]))


def test_inpainting_refuses_an_empty_mask(loaded: Loaded) -> None:
    skill = loaded["inpainting"]
    (answer,) = skill.predict([call(skill, marked=Image.new("RGB", (64, 64), (127, 127, 127)))])
    assert isinstance(answer, BadArguments)
    assert answer.details == {"argument": "mask"}


def test_no_mask_is_too_small_for_the_latent_cells() -> None:
    marked = np.zeros((4000, 3000), dtype=np.bool_)
    marked[1999, 1000] = True
    cells = np.asarray(cell_mask(marked, (64, 64), 8))
    assert cells.shape == (64, 64)
    assert np.argwhere(cells[::8, ::8]).tolist() == [[3, 2]]
    assert (cells > 0).sum() == 64


def test_the_segmentation_map_steers_controlnet(loaded: Loaded) -> None:
    skill = loaded["controlnet"]
    free, steered = paint(skill, call(skill, control=0.0), call(skill, control=1.0))
    assert np.abs(pixels(free) - pixels(steered)).max() > 5


def test_the_instruction_and_the_picture_both_guide_an_edit(loaded: Loaded) -> None:
    skill = loaded["instruct_pix2pix"]
    usual, other_words, closer = paint(
        skill, call(skill), call(skill, prompt="make it night"), call(skill, image_guidance=4.0)
    )
    assert np.abs(pixels(usual) - pixels(other_words)).max() > 5
    assert np.abs(pixels(usual) - pixels(closer)).max() > 5


@pytest.mark.parametrize("size", [(1, 1), (400, 20), (64, 48)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_edit_keeps_what_it_changes_little(tmp_path: Path, size: tuple[int, int], dtype: str) -> None:
    tiny = importlib.import_module("tests.tiny.instruct_pix2pix")
    skill = load_skill("instruct_pix2pix")(tiny.make(tmp_path), **tiny.OPTIONS, dtype=dtype, keep_below=0.9)
    skill.setup()
    asked = call(skill, size, steps=1)
    (answer,) = paint(skill, asked)
    # No painting of random weights changes that much.
    assert np.array_equal(pixels(answer), np.asarray(asked.image))


def test_only_what_changes_is_taken_from_the_painting() -> None:
    given, lossy = noise(96, 64), Image.new("RGB", (96, 64), (100, 100, 100))
    painted = lossy.copy()
    painted.paste((250, 250, 250), (0, 0, 40, 64))
    mixed = np.asarray(kept(given, painted, lossy, 0.1))
    assert (mixed[:, :36] == 250).all()
    assert np.array_equal(mixed[:, 46:], np.asarray(given)[:, 46:])


def test_a_picture_that_the_safety_checker_flags_is_withheld(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    skill = loaded["stable_diffusion"]
    pipe = skill._pipe

    class Checked:
        unet, vae_scale_factor = pipe.unet, pipe.vae_scale_factor

        def __call__(self, **settings: Any) -> Any:
            return SimpleNamespace(images=[noise(64, 64), noise(64, 64)], nsfw_content_detected=[True, False])

    monkeypatch.setattr(skill, "_pipe", Checked())
    withheld, shown = skill.predict([call(skill), call(skill)])
    assert isinstance(withheld, SkillFailed)
    assert "change the prompt or the seed" in withheld.message
    assert isinstance(shown, PaintedPicture)


def test_results_in_half_precision_are_pictures_too(tmp_path: Path) -> None:
    from tests.tiny.inpainting import make

    skill = load_skill("inpainting")(make(tmp_path), dtype="bfloat16", channels_last=False)
    skill.setup()
    (answer,) = paint(skill, call(skill, steps=2))
    assert pixels(answer).std() > 1


def test_a_small_planner_is_told_that_the_picture_is_ready(loaded: Loaded) -> None:
    (answer,) = paint(loaded["stable_diffusion"], call(loaded["stable_diffusion"], steps=1))
    assert answer.observation(brief=True) == {"message": "The picture is ready."}


def test_published_names_and_needs() -> None:
    specs = {name: load_skill(name).spec() for name in NAMES}
    assert specs["stable_diffusion"].names == ("stable_diffusion", "sd", "stable-diffusion")
    assert specs["instruct_pix2pix"].names == ("instruct_pix2pix", "instruct-pix2pix", "ip2p")
    assert {name: set(spec.consumes) for name, spec in specs.items()} == {
        "stable_diffusion": set(),
        "instruct_pix2pix": {Symbol.IMAGE},
        "inpainting": {Symbol.IMAGE, Symbol.MASK},
        "controlnet": {Symbol.IMAGE_SEG},
    }
    assert all(spec.produces == {"edited_image": Symbol.IMAGE} for spec in specs.values())
