from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from deploy.cli.index import Lines
from deploy.cli.main import app
from deploy.errors import UsageError
from tests.tiny import clip_retrieval as tiny

pytest.importorskip("transformers", reason="runs CLIP")
pytest.importorskip("faiss", reason="searches with FAISS")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("clip")
    tiny.make_clip(folder)
    return str(folder)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["index", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def lines(path: Path, *texts: str) -> str:
    path.write_text("\n".join(texts))
    return str(path)


def test_build_add_and_search_work_together(clip: str, tmp_path: Path) -> None:
    index = str(tmp_path / "index")
    said = run("build", lines(tmp_path / "a.txt", "a red fox", "a green boat"), index, "--checkpoint", clip)
    assert "2 entries added; it holds 2." in said
    said = run("add", lines(tmp_path / "b.txt", "a green boat", "the snow", "a blue city"), index)
    assert "3 entries added; it holds 5." in said, "the source's name is part of an entry"
    assert "3 were there already; it holds 5." in run("add", str(tmp_path / "b.txt"), index)

    first = run("search", index, "--text", "a blue city", "--top-k", "2").splitlines()[0]
    assert first.split(maxsplit=1) == ["1.000", "a blue city  (b.txt)"]
    (hit,) = run("search", index, "--text", "the snow", "--top-k", "1", "--json").splitlines()
    assert json.loads(hit)["caption"] == "the snow"


def test_pictures_are_indexed_and_searched(clip: str, tmp_path: Path) -> None:
    for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        Image.new("RGB", (20, 20), colour).save(tmp_path / f"{name}.png")
    captions = [json.dumps({"image": f"{name}.png", "caption": f"all {name}"}) for name in ("red", "blue")]
    captions.append(json.dumps({"image": "lost.png", "caption": "lost"}))
    index = str(tmp_path / "index")
    run("build", lines(tmp_path / "captions.jsonl", *captions), index, "--checkpoint", clip)
    first = run("search", index, "--picture", str(tmp_path / "blue.png")).splitlines()[0]
    assert "all blue" in first


def test_a_finished_index_is_not_built_over(clip: str, tmp_path: Path) -> None:
    source = lines(tmp_path / "a.txt", "a red fox")
    run("build", source, str(tmp_path / "index"), "--checkpoint", clip)
    with pytest.raises(UsageError, match="index add"):
        run("build", source, str(tmp_path / "index"), "--checkpoint", clip)


def test_mistakes_end_in_one_line(clip: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        run("build", str(tmp_path / "nothing.jsonl"), str(tmp_path / "index"), "--checkpoint", clip)
    with pytest.raises(UsageError, match="is no index"):
        run("add", lines(tmp_path / "a.txt", "a"), str(tmp_path))
    with pytest.raises(UsageError, match="check the path"):
        run("build", str(tmp_path / "a.txt"), str(tmp_path / "index"), "--checkpoint", "./nowhere")
    with pytest.raises(UsageError, match="cannot be loaded"):
        run("build", str(tmp_path / "a.txt"), str(tmp_path / "index"), "--checkpoint", str(tmp_path))
    with pytest.raises(UsageError, match="one of --text and --picture"):
        run("search", str(tmp_path / "index"))


def test_what_cannot_be_searched_for_or_loaded_ends_in_one_line(clip: str, tmp_path: Path) -> None:
    source, index = lines(tmp_path / "a.txt", "a red fox"), str(tmp_path / "index")
    run("build", source, index, "--checkpoint", clip)
    with pytest.raises(UsageError, match="text to search for is empty"):
        run("search", index, "--text", "")
    with pytest.raises(UsageError, match=r"a\.txt cannot be read as a picture"):
        run("search", index, "--picture", source)
    with pytest.raises(UsageError, match="--dtype float64: Input should be 'float32'"):
        run("search", index, "--text", "fox", "--dtype", "float64")
    with pytest.raises(UsageError, match=r"cannot be loaded on nonsense: .*device"):
        run("search", index, "--text", "fox", "--device", "nonsense")
    with pytest.raises(UsageError, match=r"a\.txt: File exists"):
        run("build", source, source, "--checkpoint", clip)


def test_progress_as_lines_tells_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    now = iter((0.0, 1.0, 10.0, 20.0, 21.0))
    show = Lines(clock=lambda: next(now))
    for done in (0, 5, 50, 100):
        show("embedding", done, 100)
    show("indexing", 100, 100)
    assert capsys.readouterr().err.splitlines() == [
        "embedding  0/100",
        "embedding  50/100, 10 s left",
        "embedding  100/100",
        "indexing   100/100",
    ]
