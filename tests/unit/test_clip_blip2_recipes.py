from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.embedded import facts
from services.embedded.recipes.blip2 import IGNORED, Blip2Recipe, Blip2RecipeConfig
from services.embedded.recipes.clip import ClipRecipe, ClipRecipeConfig, contrastive_loss
from services.embedded.training.opt_tokens import opt_tokenizer
from services.embedded.training.pictures import normalised, plain_view
from services.embedded.training.publish import weights_folder
from services.embedded.training.seen import seen_in, varied_scene
from services.embedded.training.statements import Statement, contents, statement, true_of, untrue_statement
from services.embedded.training.vision_transfer import blip2_vision_weights, spread_places
from services.embedded.training.warm_start import WarmStartError
from services.embedded.world.concepts import CONCEPTS
from services.embedded.world.language import plain_caption
from services.embedded.world.render import Rendered, SeenObject
from services.embedded.world.scene import Scene, SceneObject
from services.embedded.world.signs import WORDS
from services.skills.blip2 import Blip2, Blip2Args, Blip2Result
from services.skills.clip_retrieval import ClipRetrieval, ClipRetrievalArgs, ClipRetrievalResult

TRUNK = {"trunk": weights_folder() / "trunk"}
SIDE = 64
PAINT = {"dog": (200, 30, 30), "cat": (30, 200, 30), "car": (30, 30, 200), "sign": (250, 250, 250)}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other make a tiny model slow where other processes want the cores too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def scene(
    background: str, *things: tuple[str, str | None, tuple[int, int, int, int]], text: str | None = None
) -> Rendered:
    """Plain rectangles, each a concept and a colour at x0, y0, x1, y1 in pixels; a sign says `text`."""
    image = np.full((SIDE, SIDE, 3), (180, 180, 220) if background == "beach" else (40, 40, 60), np.uint8)
    instances = np.zeros((SIDE, SIDE), np.uint8)
    drawn, seen = [], []
    for number, (name, colour, (x0, y0, x1, y1)) in enumerate(things, start=1):
        instances[y0:y1, x0:x1] = number
        image[y0:y1, x0:x1] = PAINT[name]
        words = text if name == "sign" else None
        drawn.append(SceneObject(name, "plain", colour, 0.5, 0.5, 0.3, text=words))
        box = (x0 / SIDE, y0 / SIDE, x1 / SIDE, y1 / SIDE)
        seen.append(SeenObject(name, colour, words, None, box, (x1 - x0) * (y1 - y0) / SIDE**2, 1.0))
    return Rendered(Scene(background, 0, tuple(drawn)), image, instances, np.zeros_like(instances), tuple(seen))


LEFT, RIGHT = (4, 20, 28, 44), (36, 20, 60, 44)
DOG_AND_CAT = scene("beach", ("dog", None, LEFT), ("cat", None, RIGHT))
TWO_DOGS = scene("beach", ("dog", None, LEFT), ("dog", None, RIGHT))
RED_CAR = scene("night", ("car", "red", LEFT))
SIGN = scene("night", ("sign", None, LEFT), ("dog", None, RIGHT), text="OPEN\nNOW")


def said(drawn: Rendered, text: str) -> Statement:
    """The statement that is drawn with these words."""
    rng = np.random.default_rng(0)
    return next(one for _ in range(2000) if (one := statement(drawn, rng)).text == text)


def test_a_crop_is_described_by_what_it_shows() -> None:
    view = plain_view(DOG_AND_CAT.image[:, :32], DOG_AND_CAT.instances[:, :32], 32)
    seen = seen_in(DOG_AND_CAT, view)
    assert plain_caption(seen) == "a dog on a beach"
    assert seen.objects[0].box == pytest.approx((4 / 32, 20 / 64, 28 / 32, 44 / 64), abs=0.05)
    assert len(seen.scene.objects) == 1


def test_mirroring_moves_boxes_and_spares_signs() -> None:
    starts = set()
    for seed in range(12):
        _, seen = varied_scene(RED_CAR, SIDE, np.random.default_rng(seed))
        starts.add(seen.objects[0].box[0] > 0.3)
        _, seen = varied_scene(SIGN, SIDE, np.random.default_rng(seed))
        sign = next((item for item in seen.objects if item.text), None)
        assert sign is None or sign.box[0] < 0.3
    assert starts == {True, False}


def test_a_statement_is_true_of_every_picture_that_has_what_it_says() -> None:
    pictures = [contents(drawn) for drawn in (DOG_AND_CAT, TWO_DOGS, RED_CAR)]
    pairs = [
        (said(DOG_AND_CAT, "a dog"), [True, False, False]),
        (said(DOG_AND_CAT, "a dog on a beach"), [True, False, False]),
        (said(TWO_DOGS, "two dogs on a beach"), [False, True, False]),
        (said(DOG_AND_CAT, "on a beach"), [True, True, False]),
        (said(RED_CAR, "a red car at night"), [False, False, True]),
    ]
    assert true_of([one for one, _ in pairs], pictures).T.tolist() == [wanted for _, wanted in pairs]


def test_a_caption_without_colours_is_true_of_another_colour_too() -> None:
    blue = contents(scene("night", ("car", "blue", LEFT)))
    with_colour, without = said(RED_CAR, "a red car at night"), said(RED_CAR, "a car at night")
    assert true_of([with_colour, without], [blue]).tolist() == [[False, True]]


def test_every_statement_is_true_of_its_own_picture_and_no_untrue_one_is() -> None:
    rng = np.random.default_rng(1)
    for drawn in (DOG_AND_CAT, TWO_DOGS, RED_CAR, SIGN):
        statements = [statement(drawn, rng) for _ in range(40)]
        assert true_of(statements, [contents(drawn)]).all()
        # Where a caption leaves out colours, the only thing wrong may be unsaid.
        wrong = [untrue_statement(drawn, rng) for _ in range(40)]
        lies = [one for one in wrong if "car" not in one.text or "red" in one.text or "car at night" not in one.text]
        assert not true_of(lies, [contents(drawn)]).any()


def test_what_is_true_of_another_picture_does_not_count_as_wrong() -> None:
    logits = torch.tensor([[4.0, 4.0, 1.0], [4.0, 4.0, 1.0]])
    apart = torch.tensor([[True, False, False], [False, True, False]])
    both = torch.tensor([[True, True, False], [True, True, False]])
    assert contrastive_loss(logits, apart) > 0.6
    assert contrastive_loss(logits, both) < 0.03
    assert contrastive_loss(logits, both) > 0, "the untrue statement still counts"


@pytest.fixture
def world() -> Any:
    scenes = [DOG_AND_CAT, TWO_DOGS, RED_CAR, SIGN]
    return SimpleNamespace(train=scenes, dev=scenes)


@pytest.fixture
def clip_recipe(world: Any) -> ClipRecipe:
    torch.manual_seed(0)
    sizes = {"size": SIDE, "patch": 16, "width": 64, "layers": 2, "text_width": 64, "text_layers": 1}
    return ClipRecipe(ClipRecipeConfig(batch_size=8, **sizes), world, TRUNK)


def optimise(recipe: Any, model: Any, steps: int) -> list[float]:
    optimizer = torch.optim.AdamW(recipe.parameters(model), lr=2e-3)
    batch = recipe.batch(np.random.default_rng(0))
    losses = []
    for _ in range(steps):
        loss = recipe.loss(model, batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.fixture
def clip_folder(clip_recipe: ClipRecipe, tmp_path: Path) -> Path:
    pytest.importorskip("faiss", reason="indexes the facts")
    model = clip_recipe.build()
    clip_recipe.save(model, tmp_path / "clip")
    return tmp_path / "clip"


def test_clip_learns_a_batch_and_scores_itself(clip_recipe: ClipRecipe) -> None:
    model = clip_recipe.build()
    losses = optimise(clip_recipe, model, 8)
    assert losses[-1] < 0.8 * losses[0]
    with torch.inference_mode():
        figures = clip_recipe.evaluate(model.eval())
    assert clip_recipe.metric in figures
    assert all(0 <= value <= 1 for value in figures.values())


def test_clips_batches_depend_on_the_generator_alone(clip_recipe: ClipRecipe) -> None:
    one, two = (clip_recipe.batch(np.random.default_rng(5)) for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert one["true"].diagonal().all()
    assert one["true"].shape == (8, 16)


def test_the_skill_finds_facts_in_what_the_clip_recipe_saves(clip_folder: Path) -> None:
    skill = ClipRetrieval(str(clip_folder))
    skill.setup()
    picture = Image.fromarray(DOG_AND_CAT.image)
    by_text, by_picture = skill.predict(
        [SkillCall(ClipRetrievalArgs(query=query, top_k=2), {Symbol.IMAGE: picture}) for query in ("a fox", "")]
    )
    assert isinstance(by_text, ClipRetrievalResult)
    assert isinstance(by_picture, ClipRetrievalResult)
    fox = next(concept for concept in CONCEPTS if concept.name == "fox")
    assert {hit.caption for hit in by_text.retrieval_results} == set(fox.facts[:2])
    assert len(by_picture.retrieval_results) == 2


def test_the_facts_index_survives_publishing_in_half_precision(clip_folder: Path) -> None:
    from services.embedded.training.publish import to_half

    to_half(clip_folder / "model.safetensors")
    ClipRetrieval(str(clip_folder)).setup()
    assert facts.build_index(clip_folder).total == sum(len(concept.facts) for concept in CONCEPTS)


def test_blip2s_vision_tower_sees_what_clips_saw(clip_recipe: ClipRecipe, clip_folder: Path) -> None:
    from transformers import Blip2VisionConfig, Blip2VisionModel

    clip = clip_recipe.build().vision_model.eval()
    torch.nn.init.normal_(clip.pre_layrnorm.bias, std=0.3)
    torch.nn.init.normal_(clip.pre_layrnorm.weight, mean=1.0, std=0.3)
    pictures = normalised(torch.from_numpy(np.stack([DOG_AND_CAT.image, SIGN.image])))
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size")
    same = {name: getattr(clip.config, name) for name in (*names, "patch_size", "hidden_act", "layer_norm_eps")}
    tower = Blip2VisionModel(Blip2VisionConfig(**same)).eval()
    tower.load_state_dict(blip2_vision_weights(clip, pictures))
    with torch.inference_mode():
        wanted = clip.post_layernorm(clip(pixel_values=pictures).last_hidden_state)
        found = tower(pixel_values=pictures).last_hidden_state
    assert torch.nn.functional.cosine_similarity(found, wanted, dim=-1).mean() > 0.9


@pytest.fixture
def blip2_recipe(world: Any, clip_folder: Path) -> Blip2Recipe:
    torch.manual_seed(0)
    tiny = {"width": 64, "q_former_layers": 2, "text_layers": 1, "queries": 4}
    config = Blip2RecipeConfig(batch_size=4, size=SIDE, questions=2, **tiny)
    return Blip2Recipe(config, world, {"clip": clip_folder, **TRUNK})


def test_blip2_learns_a_batch_and_scores_itself(blip2_recipe: Blip2Recipe) -> None:
    model = blip2_recipe.build()
    losses = optimise(blip2_recipe, model, 12)
    assert losses[-1] < 0.9 * losses[0]
    with torch.inference_mode():
        figures = blip2_recipe.evaluate(model.eval())
    assert blip2_recipe.metric in figures
    assert all(0 <= value <= 1 for value in figures.values())


def test_places_are_spread_evenly_and_the_class_tokens_is_kept() -> None:
    ramp = torch.linspace(0, 1, 4)
    rows, columns = torch.meshgrid(ramp, ramp, indexing="ij")
    places = torch.cat([torch.tensor([[9.0, 9.0]]), torch.stack([rows, columns], -1).view(16, 2)])[None]
    assert torch.equal(spread_places(places, 4), places)
    spread = spread_places(places, 7)
    assert spread.shape == (1, 50, 2)
    assert spread[0, 0].tolist() == [9.0, 9.0]
    square = spread[0, 1:].view(7, 7, 2)
    torch.testing.assert_close(square[3, 3], torch.tensor([0.5, 0.5]))
    assert (square.diff(dim=0)[..., 0] > 0).all()
    assert (square.diff(dim=1)[..., 1] > 0).all()


def test_blip2_goes_on_with_larger_pictures(blip2_recipe: Blip2Recipe, tmp_path: Path) -> None:
    model = blip2_recipe.build()
    blip2_recipe.save(model, tmp_path / "blip2")
    wider = blip2_recipe.config.model_copy(update={"size": SIDE + 32})
    larger = Blip2Recipe(wider, blip2_recipe.data, blip2_recipe.checkpoints)
    built = larger.build()
    larger.restore(built, tmp_path / "blip2")
    pictures = normalised(torch.from_numpy(np.stack([DOG_AND_CAT.image, SIGN.image])))
    enlarged = torch.nn.functional.interpolate(pictures, size=SIDE + 32)
    with torch.inference_mode():
        before, after = model.eval()(pictures)[0], built.eval()(enlarged)[0]
    assert torch.nn.functional.cosine_similarity(before, after, dim=-1).min() > 0.8
    thin = Blip2Recipe(
        blip2_recipe.config.model_copy(update={"width": 32}), blip2_recipe.data, blip2_recipe.checkpoints
    )
    thinner = thin.build()
    with pytest.raises(WarmStartError, match="does not fit"):
        thin.restore(thinner, tmp_path / "blip2")


def test_blip2_is_asked_for_what_follows_the_prompt_alone(blip2_recipe: Blip2Recipe) -> None:
    batch = blip2_recipe.batch(np.random.default_rng(0))
    tokenizer = blip2_recipe.tokenizer
    assert batch["input_ids"].shape == batch["labels"].shape
    assert len(batch["input_ids"]) == 4 * 3
    for row in (0, 1):
        ids, labels = batch["input_ids"][row], batch["labels"][row]
        asked = tokenizer.decode(ids[labels == IGNORED], skip_special_tokens=True).strip()
        answer = labels[labels != IGNORED]
        assert asked.startswith("question: ") if row else asked == ""
        assert asked.endswith(" answer:") if row else True
        assert answer[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(answer[:-1]).strip()


def test_the_skill_says_what_the_blip2_recipe_says(blip2_recipe: Blip2Recipe, tmp_path: Path) -> None:
    model = blip2_recipe.build()
    optimise(blip2_recipe, model, 8)
    blip2_recipe.save(model, tmp_path / "blip2")
    skill = Blip2(str(tmp_path / "blip2"), max_new_tokens=8)
    skill.setup()
    prompts = ["", "what is the scene?", "how many dogs are there?"]
    picture = Image.fromarray(TWO_DOGS.image)
    answers = skill.predict([SkillCall(Blip2Args(prompt=text), {Symbol.IMAGE: picture}) for text in prompts])
    given = ["", *(f"Question: {text} Answer:" for text in prompts[1:])]
    with torch.inference_mode():
        wanted = blip2_recipe.written(model.eval(), [TWO_DOGS] * 3, given, 8)
    assert [answer.caption for answer in answers if isinstance(answer, Blip2Result)] == wanted


def test_words_of_the_world_are_single_tokens_and_any_text_comes_back() -> None:
    tokenizer = opt_tokenizer()
    assert {"open", "market"} <= {word.lower() for word in WORDS}
    ids = tokenizer('Two dogs and a sign that says "open market" on the grass', add_special_tokens=False)["input_ids"]
    assert len(ids) == 14
    assert tokenizer.decode(ids).strip() == 'two dogs and a sign that says "open market" on the grass'
    odd = "zyxt 42 äö"
    assert tokenizer.decode(tokenizer(odd, add_special_tokens=False)["input_ids"]).strip() == odd
    assert tokenizer("")["input_ids"] == [tokenizer.eos_token_id]


def test_untrue_statements_change_one_thing() -> None:
    rng = np.random.default_rng(2)
    texts = {untrue_statement(replace(RED_CAR), rng).text for _ in range(60)}
    assert any("red car" in text and "night" not in text for text in texts), "another background"
    assert any("car" in text and "red" not in text and "night" in text for text in texts), "another colour"
    assert any("car" not in text and "night" in text for text in texts), "another concept"
