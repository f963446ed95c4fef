"""What a crop of a scene shows, so that sentences about it are true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from services.embedded.training.pictures import OBJECT_AREA_MIN, View, boxes_of, varied_view
from services.embedded.world.render import Rendered

CROP_MIN = 0.75


def seen_in(scene: Rendered, view: View) -> Rendered:
    """The scene with the objects that `view` shows, and their boxes and areas there; its pictures are the view's."""
    count = len(scene.objects)
    areas = np.bincount(view.instances.ravel(), minlength=count + 1)[1:] / view.instances.size
    boxes = boxes_of(view.instances, count)
    kept = [index for index in range(count) if areas[index] >= OBJECT_AREA_MIN]
    objects = tuple(
        replace(scene.objects[index], box=tuple(boxes[index].tolist()), area=float(areas[index])) for index in kept
    )
    return replace(
        scene,
        scene=replace(scene.scene, objects=tuple(scene.scene.objects[index] for index in kept)),
        image=view.image,
        objects=objects,
    )


def varied_scene(scene: Rendered, side: int, rng: np.random.Generator) -> tuple[View, Rendered]:
    """A crop in other light, and what it shows. Words on signs are never mirrored."""
    flip = all(item.text is None for item in scene.objects)
    view = varied_view(scene.image, scene.instances, side, rng, crop_min=CROP_MIN, flip=flip)
    return view, seen_in(scene, view)
