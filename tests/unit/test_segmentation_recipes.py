from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from transformers import Blip2VisionConfig, Blip2VisionModel

from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.embedded.recipes.openseed import OpenSeedRecipe, OpenSeedRecipeConfig
from services.embedded.recipes.seem import SeemRecipe, SeemRecipeConfig, scenes_by_concept
from services.embedded.recipes.semantic_sam import SemanticSamRecipe, SemanticSamRecipeConfig
from services.embedded.training.publish import weights_folder
from services.embedded.training.recipe import Recipe
from services.embedded.training.segments import CLASSES
from services.embedded.training.trunk import trunk_config
from services.embedded.world.render import Rendered, SeenObject
from services.embedded.world.scene import Scene
from services.skills.openseed import OpenSeed, OpenSeedArgs, OpenSeedResult
from services.skills.seem import Seem, SeemArgs, SeemResult

COLOURS = {"dog": (200, 30, 30), "cat": (30, 200, 30), "rabbit": (230, 230, 40)}
SIDE = 64


class Scenes(list[Rendered]):
    """A scene cache in memory."""

    @property
    def instances(self) -> NDArray[np.uint8]:
        return np.stack([scene.instances for scene in self])


def square_scene(seed: int) -> Rendered:
    """Two squares on the beach, one colour a concept."""
    rng = np.random.default_rng(seed)
    image = np.full((SIDE, SIDE, 3), (180, 180, 220), np.uint8)
    instances = np.zeros((SIDE, SIDE), np.uint8)
    names = rng.choice(sorted(COLOURS), 2)
    for index, name in enumerate(names):
        top, left = int(rng.integers(0, SIDE - 24)), 32 * index + int(rng.integers(0, 9))
        image[top : top + 22, left : left + 22] = COLOURS[name]
        instances[top : top + 22, left : left + 22] = index + 1
    seen = tuple(SeenObject(str(name), None, None, None, (0.0, 0.0, 1.0, 1.0), 0.1, 1.0) for name in names)
    return Rendered(Scene("beach", 0, ()), image, instances, np.zeros_like(instances), seen)


def world() -> Any:
    return SimpleNamespace(train=Scenes(map(square_scene, range(12))), dev=Scenes(map(square_scene, range(100, 108))))


def openseed(folder: Path) -> OpenSeedRecipe:
    from transformers import ResNetBackbone

    torch.manual_seed(0)
    ResNetBackbone(trunk_config()).save_pretrained(folder / "trunk")
    config = OpenSeedRecipeConfig(size=SIDE, batch_size=4, width=32, queries=8, pixel_layers=1, decoder_layers=3)
    return OpenSeedRecipe(config, world(), {"trunk": folder / "trunk"})


def tower() -> Blip2VisionModel:
    """A BLIP-2 vision tower of two layers, not a weight of it where it began."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = Blip2VisionModel(Blip2VisionConfig(**sizes, image_size=SIDE, patch_size=16, hidden_act="gelu"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def seem(folder: Path) -> SeemRecipe:
    from transformers import Blip2Config

    model = tower()
    Blip2Config(vision_config=model.config).save_pretrained(folder / "blip2")
    weights = {f"vision_model.{name}": value for name, value in model.state_dict().items()}
    save_file(weights, folder / "blip2" / "model.safetensors")
    config = SeemRecipeConfig(size=SIDE, batch_size=4, patch=16, layers=3, semantic_layer=1, dev_pairs=8)
    return SeemRecipe(config, world(), {"trunk": weights_folder() / "trunk", "blip2": folder / "blip2"})


def losses(recipe: Recipe[Any], model: Any, steps: int) -> list[float]:
    """The loss at each step on one batch that is shown again and again."""
    optimizer = torch.optim.AdamW(recipe.parameters(model), lr=2e-3)
    batch = recipe.batch(np.random.default_rng(0))
    history = []
    for _ in range(steps):
        loss = recipe.loss(model.train(), batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(float(loss.detach()))
    return history


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_openseed_learns_and_its_checkpoint_answers_as_a_skill(tmp_path: Path) -> None:
    recipe = openseed(tmp_path)
    model = recipe.build()
    history = losses(recipe, model, 12)
    assert history[-1] < 0.9 * history[0]
    model.eval()
    with torch.inference_mode():
        figures = recipe.evaluate(model)
        assert recipe.samples(model).height > SIDE
    assert set(figures) == {"mIoU", "mIoU_objects"}
    recipe.save(model, tmp_path / "checkpoint")
    skill = OpenSeed(checkpoint=str(tmp_path / "checkpoint"))
    skill.setup()
    (answer,) = skill.predict([SkillCall(OpenSeedArgs(), {Symbol.IMAGE: Image.new("RGB", (50, 40))})])
    assert isinstance(answer, OpenSeedResult)
    assert all(label.name == CLASSES[label.id] for label in answer.labels)


def test_openseed_batches_name_the_classes_of_each_picture(tmp_path: Path) -> None:
    batch = openseed(tmp_path).batch(np.random.default_rng(0))
    for classes, labels in zip(batch["classes"], batch["labels"], strict=True):
        assert sorted(classes.unique().tolist()) == sorted(label for label in labels.tolist() if label >= 0)


def test_the_same_step_draws_the_same_batch(tmp_path: Path) -> None:
    for recipe in (openseed(tmp_path), seem(tmp_path)):
        one, other = (recipe.batch(np.random.default_rng(3)) for _ in range(2))
        assert all(torch.equal(one[name], other[name]) for name in one)


def parted_world() -> Any:
    """Squares whose upper half is one part and whose lower half is another."""
    scenes = world()
    for scene in (*scenes.train, *scenes.dev):
        for instance in (1, 2):
            rows = np.flatnonzero((scene.instances == instance).any(axis=1))
            for part, half in enumerate(np.array_split(rows, 2), start=1):
                scene.parts[half] = np.where(scene.instances[half] == instance, part, scene.parts[half])
    return scenes


def test_semantic_sam_asks_for_the_part_the_object_and_the_group_at_a_point_in_closer_looks_too() -> None:
    areas = {}
    for near in (0.0, 1.0):
        recipe = SemanticSamRecipe(SemanticSamRecipeConfig(size=SIDE, batch_size=6, near=near), parted_world(), {})
        batch = recipe.batch(np.random.default_rng(0))
        part, whole, group = batch["masks"].unbind(2)
        points = batch["prompts"].long()[:, :, 0]
        for picture in range(6):
            for prompt, (x, y) in enumerate(points[picture].tolist()):
                assert part[picture, prompt, y, x]
        assert not (part & ~whole).any()
        assert (part.sum((2, 3)) < whole.sum((2, 3))).any()
        assert torch.equal(whole, group)
        areas[near] = float(whole.float().mean())
    assert areas[1.0] > 1.3 * areas[0.0]


def test_semantic_sam_is_scored_as_the_skill_looks() -> None:
    from services.embedded.recipes.semantic_sam import RECIPE

    recipe = RECIPE(
        SemanticSamRecipeConfig(dev_scenes=2, closer=1.5), parted_world(), {"sam": weights_folder() / "semantic_sam"}
    )
    with torch.inference_mode():
        figures = recipe.evaluate(recipe.build().eval())
    assert set(figures) == {"iou_levels", "iou_part", "iou_object", "iou_group"}
    assert figures["iou_object"] > 0.5


def test_seem_learns_and_its_checkpoint_answers_as_a_skill(tmp_path: Path) -> None:
    recipe = seem(tmp_path)
    model = recipe.build()
    history = losses(recipe, model, 25)
    assert history[-1] < 0.8 * history[0]
    model.eval()
    with torch.inference_mode():
        figures = recipe.evaluate(model)
        assert recipe.samples(model).height > SIDE
    assert set(figures) == {"mIoU", "found"}
    recipe.save(model, tmp_path)
    skill = Seem(checkpoint=str(tmp_path))
    skill.setup()
    scene = recipe.data.dev[0]
    images = {
        Symbol.IMAGE: Image.fromarray(recipe.data.dev[1].image),
        Symbol.REFERENCE_IMAGE: Image.fromarray(scene.image),
        Symbol.REFERENCE_MASK: Image.fromarray(np.where(scene.instances == 1, 255, 0).astype(np.uint8)),
    }
    (answer,) = skill.predict([SkillCall(SeemArgs(), images)])
    assert isinstance(answer, SeemResult)


def test_seem_begins_with_what_the_tower_of_blip2_sees(tmp_path: Path) -> None:
    known, network = tower(), seem(tmp_path).build().network.model.eval()
    tokens = torch.randn(2, 16, 64)
    with torch.inference_mode():
        for index, layer in enumerate(known.encoder.layers):
            wanted = layer(tokens)
            wanted = wanted[0] if isinstance(wanted, tuple) else wanted
            found = network.encoder.layers[index](tokens.view(2, 4, 4, 64), 1)[0].view(2, 16, 64)
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
        places = network.embeddings.interpolate_pos_encoding(8, 4).view(2, 16, 64)
        torch.testing.assert_close(places[0], places[1])
        wanted = known.embeddings.position_embedding[0, 1:]
        assert torch.nn.functional.cosine_similarity(places[0], wanted, dim=-1).min() > 0.9, "shrinking blurs a little"
        pictures = torch.randn(1, 3, SIDE, SIDE)
        patches = known.embeddings.patch_embedding(pictures)[0]
        halves = network.embeddings.patch_embeddings(torch.cat([pictures, pictures], 2))[0]
        torch.testing.assert_close(halves[:4].permute(2, 0, 1), patches)


def test_seem_says_which_tower_it_needs(tmp_path: Path) -> None:
    recipe = seem(tmp_path)
    other = SeemRecipe(SeemRecipeConfig(size=SIDE, patch=8), recipe.data, recipe.checkpoints)
    with pytest.raises(ValueError, match="set patch=16"):
        other.build()


def test_seem_spreads_the_towers_places_over_pictures_of_its_own_size(tmp_path: Path) -> None:
    recipe = seem(tmp_path)
    side = SIDE // 16 + 2
    wider = recipe.config.model_copy(update={"size": 16 * side})
    places = SeemRecipe(wider, recipe.data, recipe.checkpoints).build().network.model.embeddings.position_embeddings
    # A square of both pictures' sides, each column twice; the corners stay what they were, or nearly so.
    square = places[0, 1:].view(2 * side, 2 * side, -1)
    torch.testing.assert_close(square[:side, 0], square[side:, 1])
    corner = tower().embeddings.position_embedding[0, 1].detach()
    assert torch.nn.functional.cosine_similarity(square[0, 0], corner, dim=0) > 0.9


def test_examples_of_seem_mark_the_concept_that_is_wanted(tmp_path: Path) -> None:
    recipe = seem(tmp_path)
    batch = recipe.batch(np.random.default_rng(1))
    for index in range(4):
        marked = batch["classes"][index, :SIDE][batch["example_masks"][index]]
        wanted = batch["classes"][index, SIDE:][batch["masks"][index]]
        assert len(marked.unique()) == 1
        assert set(wanted.unique().tolist()) <= set(marked.unique().tolist())


def test_scenes_are_found_by_what_they_show() -> None:
    scenes = Scenes(map(square_scene, range(12)))
    found = scenes_by_concept(scenes)  # type: ignore[arg-type]
    for concept, indices in found.items():
        assert all(concept in {item.concept for item in scenes[index].objects} for index in indices)
