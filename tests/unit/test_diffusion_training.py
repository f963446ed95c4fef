"""What painters are trained on: prompts, noise, scenes with holes; and each recipe once through."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("diffusers", reason="painters are made of diffusers' networks")

import torch
from PIL import Image

from services.core.loading import load_skill
from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.embedded.recipes.stable_diffusion import SHOWN
from services.embedded.training.diffusion import networks
from services.embedded.training.diffusion.holes import sample_hole
from services.embedded.training.diffusion.latent import LatentRecipe
from services.embedded.training.diffusion.noise import noised, random_timesteps
from services.embedded.training.diffusion.paintings import sample_painting
from services.embedded.training.diffusion.prompts import LONGEST, clip_tokenizer, merges_of, token_ids, world_words
from services.embedded.training.publish import weights_folder
from services.embedded.training.recipe import recipe_class
from services.embedded.world import render as render_module
from services.embedded.world.concepts import TRAIN_STYLES
from services.embedded.world.language import named_concepts, named_scene
from tests.world_sprites import shapes_atlas

SIDE = 32


@pytest.fixture(autouse=True)
def drawn_shapes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Scenes of drawn shapes instead of sprites, and one thread: tiny models only lose by more."""
    monkeypatch.setattr(render_module, "load_atlas", lambda: shapes_atlas(TRAIN_STYLES))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_every_word_of_the_world_is_one_token() -> None:
    tokenizer = clip_tokenizer()
    assert [word for word in world_words() if len(tokenizer(word).input_ids) != 3] == []
    assert tokenizer("A Red car").input_ids == tokenizer("a red  car").input_ids


def test_words_of_another_world_are_read_letter_by_letter() -> None:
    tokenizer = clip_tokenizer()
    assert tokenizer.tokenize("zürich")[0] == "z"
    assert token_ids(tokenizer, ["", "Zürich 🐶 " * 50]).shape == (2, LONGEST)


def test_merges_join_the_commonest_pair_first_and_always_the_same_way() -> None:
    assert merges_of(["ab", "abc", "cab"]) == [("a", "b</w>"), ("a", "b"), ("ab", "c</w>"), ("c", "ab</w>")]


def test_timesteps_cover_all_and_favour_the_middle() -> None:
    steps = random_timesteps(4000, 1000, torch.Generator().manual_seed(0))
    assert 0 <= int(steps.min()) < 5
    assert 995 <= int(steps.max()) < 1000
    middle = ((steps > 333) & (steps < 667)).float().mean()
    assert 0.4 < float(middle) < 0.6


def test_a_share_of_the_latents_is_nothing_but_noise() -> None:
    latents = torch.ones(8, 4, 8, 8)
    wanted = noised(latents, networks.scheduler(), torch.Generator().manual_seed(1), last=0.75)
    assert (wanted.timesteps == 999).sum() == 6
    torch.testing.assert_close(wanted.velocity[:6], -latents[:6])  # the picture itself: the prompt alone tells it


def test_the_velocity_leads_back_to_the_latents() -> None:
    scheduler = networks.scheduler()
    latents = torch.randn(16, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    wanted = noised(latents, scheduler, torch.Generator().manual_seed(1))
    alpha = scheduler.alphas_cumprod[wanted.timesteps].view(-1, 1, 1, 1)
    back = alpha.sqrt() * wanted.latents - (1 - alpha).sqrt() * wanted.velocity
    torch.testing.assert_close(back, latents, atol=1e-4, rtol=1e-4)
    assert float(scheduler.alphas_cumprod[-1]) == 0.0


def test_a_grown_unet_paints_as_before_until_it_learns() -> None:
    torch.manual_seed(0)
    unet = networks.build_unet(SIDE)
    grown = networks.grown_unet(unet, SIDE, 9)
    latents, words = torch.randn(2, 9, 8, 8), torch.randn(2, 5, networks.TEXT_WIDTH)
    with torch.no_grad():
        before = unet(latents[:, :4], torch.tensor([3, 700]), words).sample
        after = grown(latents, torch.tensor([3, 700]), words).sample
    torch.testing.assert_close(after, before)


def test_paintings_show_a_few_different_things_whole() -> None:
    for seed in range(50):
        scene = sample_painting(np.random.default_rng(seed))
        names = [item.concept for item in scene.objects]
        assert 1 <= len(names) == len(set(names)) <= 3
        assert {item.style for item in scene.objects} == {"fluent3d"}
        assert all(abs(item.x - 0.5) + item.size / 2 < 0.505 for item in scene.objects)


def test_pictures_that_are_shown_are_asked_for_in_the_worlds_words() -> None:
    assert all(named_concepts(prompt) and named_scene(prompt) for prompt in SHOWN)


def test_holes_are_whole_cells_and_say_what_is_in_them() -> None:
    things = places = 0
    for seed in range(40):
        hole = sample_hole(np.random.default_rng(seed), 64)
        cells = hole.mask.reshape(16, 4, 16, 4)
        assert np.array_equal(cells.any(axis=(1, 3)), cells.all(axis=(1, 3)))
        assert hole.mask.any()
        assert hole.picture.shape == (64, 64, 3)
        things += len(named_concepts(hole.prompt)) == 1
        places += not named_concepts(hole.prompt)
    assert things > 20
    assert 1 <= places < 20


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where recipes of one test find the checkpoints of those before."""
    return tmp_path_factory.mktemp("checkpoints")


def optimised(recipe: Any, model: Any) -> list[Any]:
    """Every parameter that the optimizer gets."""
    given = recipe.parameters(model)
    return [parameter for part in given for parameter in (part["params"] if isinstance(part, dict) else [part])]


def made(name: str, checkpoints: Path, **given: Any) -> tuple[Any, Any]:
    """A recipe at the least size, and its model after a step; its checkpoint is written."""
    recipe_type = recipe_class(name)
    settings: dict[str, Any] = {"size": SIDE, "batch_size": 4, "dev_pictures": 4}
    if issubclass(recipe_type, LatentRecipe):
        settings |= {"shown_steps": 1}
    needed = {need: weights_folder() / need if need == "trunk" else checkpoints / need for need in recipe_type.needs}
    for need, folder in needed.items():
        if not folder.is_dir():
            made(need, checkpoints)
    recipe = recipe_type(recipe_type.Config(**settings | given), None, needed)  # type: ignore[arg-type]
    torch.manual_seed(0)
    model = recipe.build()
    losses = recipe.loss(model, recipe.batch(np.random.default_rng(0)))
    losses["loss"].backward()
    learned = [parameter for parameter in optimised(recipe, model) if parameter.grad is not None]
    assert learned
    with torch.no_grad():
        for parameter in learned:
            parameter -= 1e-3 * parameter.grad
    recipe.save(model, checkpoints / name)
    return recipe, model


@pytest.mark.parametrize("name", ["vae", "stable_diffusion", "instruct_pix2pix", "inpainting", "controlnet"])
def test_a_recipe_trains_scores_and_shows(name: str, checkpoints: Path) -> None:
    recipe, model = made(name, checkpoints)
    model.eval()
    with torch.inference_mode():
        first, second = recipe.evaluate(model), recipe.evaluate(model)
        shown = recipe.samples(model)
    assert recipe.metric in first
    assert first == second
    assert isinstance(shown, Image.Image)
    one, other = (recipe.batch(np.random.default_rng(3)) for _ in range(2))
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", ["stable_diffusion", "instruct_pix2pix", "inpainting", "controlnet"])
def test_pictures_of_a_pool_are_painted_once(name: str, checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, model = made(name, checkpoints, pool=6, drop=0.0)
    kept = recipe._pool
    monkeypatch.setattr(recipe, "examples", lambda *_: pytest.fail("painted again"))
    batch = recipe.batch(np.random.default_rng(1))
    assert "latents" in batch
    assert "pictures" not in batch
    for tokens, latents in zip(batch["tokens"], batch["latents"], strict=True):
        assert any(
            torch.equal(tokens, kept["tokens"][row]) and torch.equal(latents, kept["latents"][row]) for row in range(6)
        )
    assert torch.isfinite(recipe.loss(model, batch)["loss"])


def test_what_is_outside_a_hole_counts_little(checkpoints: Path) -> None:
    recipe, model = made("inpainting", checkpoints, outside=0.0)
    batch = recipe.batch(np.random.default_rng(1))
    hole = batch["mask"][:, ::4, ::4].bool()[:, None].expand(-1, 4, -1, -1)
    gradient = _gradient(recipe, model, batch)
    assert not gradient[~hole].any()
    assert gradient[hole].abs().min() > 0
    recipe.config = recipe.config.model_copy(update={"outside": 0.1})
    assert _gradient(recipe, model, batch)[~hole].abs().min() > 0


def test_what_an_edit_changes_and_what_it_leaves_count_alike(checkpoints: Path) -> None:
    recipe, model = made("instruct_pix2pix", checkpoints)
    batch = recipe.batch(np.random.default_rng(1))
    changed = batch["changed"] = torch.zeros_like(batch["changed"])
    changed[0, :2], changed[1:] = True, True
    weights = recipe.weights(batch)[:, 0]
    assert weights[0, :2].sum() == pytest.approx(float(weights[0, 2:].sum()))
    assert weights[0].mean() == pytest.approx(2.0)
    assert torch.isfinite(weights).all()
    assert _gradient(recipe, model, batch).abs().min() > 0


def test_cells_of_an_edit_have_changed_where_its_pictures_differ(checkpoints: Path) -> None:
    recipe, _ = made("instruct_pix2pix", checkpoints)
    _, arrays = recipe.examples(np.random.default_rng(2), 8)
    differs = np.abs(arrays["pictures"].astype(int) - arrays["given"]).max(3) >= 12
    for cells, pixels in zip(arrays["changed"], differs, strict=True):
        assert np.array_equal(cells, pixels.reshape(SIDE // 4, 4, SIDE // 4, 4).any((1, 3)))
    assert 0 < arrays["changed"].mean() < 1


def _gradient(recipe: Any, model: Any, batch: dict[str, Any]) -> torch.Tensor:
    """Of the loss, by what the network said."""
    said: list[torch.Tensor] = []

    def speaking(*given: Any) -> torch.Tensor:
        said.append(torch.zeros(len(given[1]), 4, SIDE // 4, SIDE // 4, requires_grad=True))
        return said[-1]

    recipe.said = speaking
    loss = recipe.loss(model, batch)["loss"]
    return torch.autograd.grad(loss, said)[0]


def test_what_reads_the_prompt_learns_at_its_own_rate(tmp_path: Path) -> None:
    recipe, model = made("stable_diffusion", tmp_path, learning_rate=1e-4, text_rate=3.0)
    rest, reading = recipe.parameters(model)
    assert reading["lr"] == pytest.approx(3e-4)
    assert {id(each) for each in model.text_encoder.parameters()} < {id(each) for each in reading["params"]}
    assert len(rest["params"]) + len(reading["params"]) == len(list(model.parameters()))


def test_a_frozen_encoder_stays_while_the_decoder_learns(tmp_path: Path) -> None:
    recipe, model = made("vae", tmp_path, frozen_encoder=True)
    learned = {id(parameter) for parameter in recipe.parameters(model)}
    assert learned == {id(each) for part in (model.decoder, model.post_quant_conv) for each in part.parameters()}
    assert all(parameter.grad is None for parameter in model.encoder.parameters())


def test_what_the_trunk_sees_is_compared_and_teaches_the_decoder(tmp_path: Path) -> None:
    recipe, model = made("vae", tmp_path, likeness=1.0)
    batch = recipe.batch(np.random.default_rng(0))
    likeness = recipe.loss(model, batch)["likeness"]
    (gradient,) = torch.autograd.grad(likeness, [model.decoder.conv_out.weight])
    assert 0.0 < float(likeness.detach()) < 4.0
    assert float(gradient.abs().max()) > 0.0
    plain, _ = made("vae", tmp_path, likeness=0.0)
    assert "likeness" not in plain.loss(model, batch)


@pytest.mark.parametrize("name", ["stable_diffusion", "instruct_pix2pix", "inpainting", "controlnet"])
def test_what_a_recipe_saves_is_a_checkpoint_of_the_skill(name: str, checkpoints: Path) -> None:
    if not (checkpoints / name).is_dir():
        made(name, checkpoints)
    base = {} if name == "stable_diffusion" else {"base": str(checkpoints / "stable_diffusion")}
    skill = load_skill(name)(str(checkpoints / name), steps=1, **base)
    skill.setup()
    picture = Image.new("RGB", (40, 30), "green")
    mask = Image.new("RGB", (40, 30), "white")
    pictures = {Symbol.IMAGE: picture, Symbol.MASK: mask, Symbol.IMAGE_SEG: picture}
    (answer,) = skill.predict([SkillCall(skill.Args(prompt="a red car on a beach", seed=1), pictures)])
    assert answer.edited_image.size == ((SIDE, SIDE) if name == "stable_diffusion" else (40, 30))


@pytest.mark.parametrize("name", ["instruct_pix2pix", "inpainting"])
def test_what_is_scored_of_a_tuned_painter_is_what_the_skill_loads(name: str, checkpoints: Path) -> None:
    recipe, model = made(name, checkpoints)
    skill = load_skill(name)(str(checkpoints / name), base=str(checkpoints / "stable_diffusion"))
    skill.setup()
    for part, loaded in (("unet", skill._pipe.unet), ("text_encoder", skill._pipe.text_encoder)):
        weights = loaded.state_dict()
        for key, value in getattr(recipe.kept(model), part).state_dict().items():
            torch.testing.assert_close(weights[key], value)


def test_a_painter_goes_on_from_a_smaller_one(checkpoints: Path) -> None:
    recipe, model = made("stable_diffusion", checkpoints)
    start = checkpoints / "stable_diffusion"
    settings = recipe.config.model_copy(update={"size": 64, "start": start})
    larger = type(recipe)(settings, None, recipe.checkpoints)
    grown = larger.build()
    assert grown.unet.config.sample_size == 16
    torch.testing.assert_close(grown.unet.conv_in.weight, model.unet.conv_in.weight)
    assert larger.tokenizer.get_vocab() == recipe.tokenizer.get_vocab()
