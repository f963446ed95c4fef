from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.embedded.recipes.ram import RamRecipe, RamRecipeConfig
from services.embedded.training.cover_loss import cover_loss
from services.embedded.training.publish import weights_folder
from services.embedded.training.segments import CLASSES
from services.embedded.training.tag_loss import (
    UNKNOWN,
    asymmetric_loss,
    best_threshold,
    f1,
    macro_f1,
    shown_tags,
)
from services.embedded.world.render import Rendered, SeenObject
from services.embedded.world.scene import Scene
from services.skills.ram import RamArgs, RamResult, RamSkill

SIDE = 64
TRUNK = {"trunk": weights_folder() / "trunk"}
PAINT = {"dog": (200, 30, 30), "cat": (30, 200, 30)}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other make a tiny model slow where other processes want the cores too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def one_square(index: int) -> Rendered:
    """A dog or a cat on the beach."""
    name = sorted(PAINT)[index % 2]
    image = np.full((SIDE, SIDE, 3), (180, 180, 220), np.uint8)
    instances = np.zeros((SIDE, SIDE), np.uint8)
    instances[12:52, 12:52] = 1
    image[instances == 1] = PAINT[name]
    seen = (SeenObject(name, None, None, None, (0.2, 0.2, 0.8, 0.8), 0.4, 1.0),)
    return Rendered(Scene("beach", 0, ()), image, instances, np.zeros_like(instances), seen)


@pytest.fixture
def recipe() -> RamRecipe:
    config = RamRecipeConfig(
        size=SIDE, batch_size=8, embed_dim=16, depths=(1, 1, 2), window_size=4, label_dim=32, hidden_size=32
    )
    world: Any = SimpleNamespace(train=[one_square(i) for i in range(8)], dev=[one_square(i) for i in range(4)])
    torch.manual_seed(0)
    return RamRecipe(config, world, TRUNK)


def test_absent_tags_weigh_less_the_surer_the_model_is_of_them() -> None:
    logits = torch.tensor([[2.0, -1.0, -4.0]])
    present, unsure, sure = logits[0].sigmoid()
    expected = -present.log() - (1 - unsure).log() * unsure**4 - (1 - sure).log() * sure**4
    loss = asymmetric_loss(logits, torch.tensor([[1, 0, 0]]), gamma_negative=4)
    assert loss.item() == pytest.approx(expected.item())


def test_a_model_that_is_sure_and_wrong_has_a_finite_loss_and_a_way_out() -> None:
    logits = torch.tensor([[90.0, -90.0]], requires_grad=True)
    loss = asymmetric_loss(logits, torch.tensor([[0, 1]]), gamma_negative=3)
    loss.backward()
    assert loss.item() == pytest.approx(180.0)
    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([1.0, -1.0])


def test_tags_that_are_not_asked_for_teach_nothing() -> None:
    logits = torch.zeros(2, 3, requires_grad=True)
    asymmetric_loss(logits, torch.tensor([[UNKNOWN, 1, 0], [0, UNKNOWN, 1]]), gamma_negative=2).backward()
    assert logits.grad is not None
    assert (logits.grad == 0).tolist() == [[True, False, False], [False, True, False]]


def test_the_best_threshold_parts_tags_that_are_there_from_others() -> None:
    scores = np.array([[0.9, 0.6, 0.2], [0.3, 0.7, 0.1]], np.float32)
    wanted = np.array([[True, True, False], [False, True, False]])
    threshold = best_threshold(scores, wanted)
    assert 0.3 <= threshold < 0.6
    assert f1(scores > threshold, wanted) == 1.0
    assert f1(scores > 0.65, wanted) == pytest.approx(0.8)
    assert macro_f1(scores > 0.65, wanted) == pytest.approx((1.0 + 2 / 3) / 2)


def test_a_class_that_shows_too_little_of_itself_is_not_asked_for() -> None:
    classes = np.full((100, 100), 3, np.uint8)
    classes[0, :10] = 5
    classes[50:, 50:] = 7
    tags = shown_tags(classes)
    assert (tags[3], tags[5], tags[7], tags.sum()) == (1, UNKNOWN, 1, 1)


def test_cells_are_to_say_how_much_each_class_covers_of_them() -> None:
    classes = torch.zeros(1, 32, 32, dtype=torch.uint8)
    classes[:, :, 16:] = 1
    classes[:, :8, :16] = 2
    certain = torch.zeros(1, 2, 2, 3)
    certain[:, :, 1, 1] = certain[:, 1, 0, 0] = 50.0
    certain[:, 0, 0, 0] = certain[:, 0, 0, 2] = 50.0
    # Of four cells one is halved by two classes, and nothing can be surer of it.
    assert cover_loss(certain, classes).item() == pytest.approx(math.log(2) / 4, abs=1e-4)
    assert cover_loss(torch.zeros(1, 2, 2, 3), classes).item() == pytest.approx(math.log(3))


def test_training_lowers_the_loss_and_its_checkpoint_tags_scenes(recipe: RamRecipe, tmp_path: Path) -> None:
    model = recipe.build()
    optimizer = torch.optim.AdamW(recipe.parameters(model), lr=3e-3)
    rng = np.random.default_rng(0)
    history = []
    for _ in range(80):
        loss = recipe.loss(model.train(), recipe.batch(rng))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.3 * history[0]
    assert recipe.evaluate(model.eval())["F1"] > 0.9

    recipe.save(model, tmp_path)
    skill = RamSkill(checkpoint=str(tmp_path))
    skill.setup()
    pictures = [Image.fromarray(one_square(index).image) for index in range(2)]
    answers = skill.predict([SkillCall(RamArgs(), {Symbol.IMAGE: picture}) for picture in pictures])
    found = [set(answer.tags) for answer in answers if isinstance(answer, RamResult)]
    assert found == [{"cat", "beach"}, {"dog", "beach"}]


def test_samples_are_one_picture(recipe: RamRecipe) -> None:
    assert recipe.samples(recipe.build().eval()).size == (4 * SIDE, SIDE + 60)


def test_every_parameter_is_trained_once(recipe: RamRecipe) -> None:
    model = recipe.build()
    groups = recipe.parameters(model)
    trained = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(trained) == sorted(id(parameter) for parameter in model.parameters())


def test_the_default_model_has_the_size_that_was_planned() -> None:
    world: Any = SimpleNamespace(train=[], dev=[])
    ram = RamRecipe(RamRecipeConfig(), world, TRUNK).build().ram
    assert 3.5e6 < sum(parameter.numel() for parameter in ram.parameters()) < 5e6
    assert ram.config.num_tags == len(CLASSES)
