"""`make world`: one HTML page with everything that the world can show, for a person to look through."""

from __future__ import annotations

import argparse
import base64
import html
import io
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from services.embedded.world.backgrounds import draw_background
from services.embedded.world.concepts import BACKGROUNDS, COLOURS, CONCEPTS, SPRITE_NAMES, TRAIN_STYLES, UNSEEN_STYLES
from services.embedded.world.edits import KINDS, sample_edit
from services.embedded.world.labels import detection_phrases, tags
from services.embedded.world.language import caption, plain_caption
from services.embedded.world.questions import questions
from services.embedded.world.render import SIZE, Rendered, render
from services.embedded.world.scene import sample_scene, scene_rng
from services.embedded.world.sprites import STYLES, WorldNotReady, atlas_path, build_atlas, load_atlas

DEFAULT_OUTPUT: Final = Path("runs/world/index.html")
_SEED: Final = 20
_STYLE: Final = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 1240px; color: #222; }
figure { display: inline-block; margin: 0 10px 14px 0; vertical-align: top; }
figcaption { max-width: 780px; } table { border-collapse: collapse; } td, th { padding: 1px 8px; text-align: left; }
td.facts { color: #555; } img { max-width: 1240px; }
"""
_COLOURS: Final = np.array(
    [[40, 40, 40], [230, 70, 60], [60, 150, 240], [80, 190, 90], [240, 190, 50], [170, 90, 210], [240, 130, 190]],
    dtype=np.uint8,
)


def data_uri(picture: NDArray[np.uint8] | Image.Image) -> str:
    """A picture as a WebP data URI."""
    buffer = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(buffer, "WEBP", quality=88)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def labelled(drawn: Rendered) -> Image.Image:
    """The picture with boxes and names, its instances and its parts, side by side."""
    boxes = Image.fromarray(np.asarray(drawn.image))
    draw = ImageDraw.Draw(boxes)
    side = boxes.width
    for item in drawn.objects:
        left, top, right, bottom = (value * side for value in item.box)
        draw.rectangle((left, top, right - 1, bottom - 1), outline=(230, 30, 30))
        draw.text((left + 3, top + 1), " ".join(filter(None, (item.colour, item.concept))), fill=(230, 30, 30))
    masks = _COLOURS[drawn.instances % len(_COLOURS)]
    parts = _COLOURS[drawn.parts % len(_COLOURS)]
    sheet = Image.new("RGB", (3 * side, side))
    for column, part in enumerate((boxes, Image.fromarray(masks), Image.fromarray(parts))):
        sheet.paste(part, (column * side, 0))
    return sheet


def write_sheet(path: Path, scenes: int = 30) -> None:
    """Write the page to `path`; it needs no other file.

    Raises:
        WorldNotReady: the sprites are missing and cannot be fetched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    body = "\n".join(_page(scenes))
    title = "The embedded world"
    page = f"<!doctype html><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>{body}"
    path.write_text(page, encoding="utf-8")


def _page(scenes: int) -> Iterator[str]:
    yield f"<p>{len(CONCEPTS)} concepts, {len(BACKGROUNDS)} backgrounds, {len(STYLES)} styles, {SIZE} px. "
    yield f"Trained on: {', '.join(TRAIN_STYLES)}; kept for tests: {', '.join(UNSEEN_STYLES)}.</p>"
    yield "<h2>Backgrounds</h2>"
    for name in BACKGROUNDS:
        row = np.hstack([draw_background(name, seed, 180) for seed in range(6)])
        yield _figure(row, name)
    yield "<h2>Concepts</h2>"
    yield from _concepts()
    yield "<h2>Colours</h2>"
    yield from _coloured()
    for title, styles in (("Scenes", TRAIN_STYLES), ("Scenes in the unseen style", UNSEEN_STYLES)):
        yield f"<h2>{title}</h2><p>Picture with boxes, instances, parts.</p>"
        for index in range(scenes if styles is TRAIN_STYLES else scenes // 3):
            rng = scene_rng(_SEED, index)
            drawn = render(sample_scene(rng, styles))
            yield _figure(labelled(drawn), "<br>".join(html.escape(line) for line in _told(drawn, rng)))
    yield "<h2>Edits</h2>"
    for kind in KINDS:
        for seed in range(4):
            pair = sample_edit(_SEED + seed, kind=kind)
            both = np.hstack([pair.before.image, pair.after.image])
            yield _figure(both, html.escape(f"{kind}: {pair.instruction}"))


def _told(drawn: Rendered, rng: np.random.Generator) -> Iterable[str]:
    yield plain_caption(drawn)
    yield caption(drawn, rng)
    yield "tags: " + ", ".join(tags(drawn))
    found = detection_phrases(drawn, rng)
    yield "phrases: " + ", ".join(
        f"{phrase} ({len(objects)})" for phrase, objects in zip(found.phrases, found.objects, strict=True)
    )
    for asked in questions(drawn, rng):
        yield f"{asked.kind}: {asked.question} {asked.answer}"


def _concepts() -> Iterator[str]:
    atlas = load_atlas()
    yield "<table><tr><th>" + "<th>".join(("name", *STYLES, "parts", "category", "fits", "facts"))
    for concept in CONCEPTS:
        if not concept.codepoint:
            continue
        index = atlas.concepts.index(concept.name)
        cells = [_picture(_on_white(atlas.straight(style, concept.name))) for style in STYLES]
        shades = np.vstack([np.full((1, 3), 255, np.uint8), _COLOURS[1:]])
        cells.append(_picture(np.hstack([shades[atlas.parts[number, index]] for number in range(len(STYLES))])))
        facts = "<br>".join(html.escape(fact) for fact in concept.facts)
        cells += [concept.category, ", ".join(concept.backgrounds), facts]
        yield f"<tr><td>{concept.name}<td>" + "<td>".join(cells)
    yield "</table>"


def _coloured() -> Iterator[str]:
    atlas = load_atlas()
    for concept in CONCEPTS:
        if concept.coloured and concept.name in SPRITE_NAMES:
            rows = [
                np.hstack([_on_white(atlas.straight(style, concept.name, colour))[::2, ::2] for style in STYLES])
                for colour in COLOURS
            ]
            yield _figure(np.hstack(rows), concept.name)


def _on_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    picture = Image.new("RGBA", (rgba.shape[1], rgba.shape[0]), "white")
    picture.alpha_composite(Image.fromarray(rgba))
    return np.asarray(picture.convert("RGB"))


def _picture(picture: NDArray[np.uint8]) -> str:
    small = Image.fromarray(picture)
    small = small.resize((small.width * 44 // small.height, 44), Image.Resampling.LANCZOS)
    return f'<img src="{data_uri(small)}">'


def _figure(picture: NDArray[np.uint8] | Image.Image, text: str) -> str:
    return f'<figure><img src="{data_uri(picture)}"><figcaption>{text}</figcaption></figure>'


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a page that shows the embedded world.")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT)
    output: Path = parser.parse_args().output
    try:
        if not atlas_path().is_file():
            build_atlas(report=print)
        write_sheet(output)
    except WorldNotReady as error:
        sys.exit(str(error))
    print(f"{output} ({output.stat().st_size / 1e6:.1f} MB): open it in a browser")


if __name__ == "__main__":
    main()
