from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from services.retrieval import structure
from services.retrieval.builder import IndexBuilder, locked
from services.retrieval.entries import Entries, Entry
from services.retrieval.errors import RetrievalError
from services.retrieval.index import RetrievalIndex
from services.retrieval.manifest import Manifest
from services.retrieval.storage import Storage
from tests.retrieval_examples import ENCODER, build, facts, found

pytest.importorskip("faiss", reason="searches with FAISS")


def test_what_was_put_in_is_found_with_similarity_one(tmp_path: Path) -> None:
    build(tmp_path, facts(50))
    index = RetrievalIndex(tmp_path, ENCODER.fingerprint)
    first, second = index.search(ENCODER.encode_texts(["fact 7", "fact 30"]), [1, 5])
    assert [hit.caption for hit in first] == ["fact 7"]
    assert first[0].id == 7
    assert first[0].similarity == pytest.approx(1.0, abs=2e-3)
    assert len(second) == 5
    assert [hit.similarity for hit in second] == sorted((hit.similarity for hit in second), reverse=True)


def test_fewer_come_back_than_asked_where_the_index_holds_fewer(tmp_path: Path) -> None:
    build(tmp_path, facts(3))
    assert sorted(found(tmp_path, "anything", top_k=50)) == facts(3)


def test_an_entry_is_found_by_its_match_and_gives_its_caption(tmp_path: Path) -> None:
    entries = [Entry("Foxes hear mice under the snow.", match="a fox", source="facts", url="https://example.org/fox")]
    IndexBuilder(tmp_path, ENCODER, "hash").run([*entries, Entry("other")], 2)
    index = RetrievalIndex(tmp_path, ENCODER.fingerprint)
    ((hit,),) = index.search(ENCODER.encode_texts(["a fox"]), [1])
    assert (hit.caption, hit.source, hit.url) == (entries[0].caption, "facts", "https://example.org/fox")


def test_adding_keeps_ids_and_passes_over_what_is_there(tmp_path: Path) -> None:
    build(tmp_path, facts(10))
    report = IndexBuilder(tmp_path, ENCODER, "hash", 4).run([Entry(text) for text in facts(15)], 15)
    assert (report.added, report.known, report.total) == (5, 10, 15)
    assert found(tmp_path, "fact 3") == ["fact 3"]
    assert found(tmp_path, "fact 14") == ["fact 14"]


def test_an_index_open_for_search_is_not_disturbed_by_adding(tmp_path: Path) -> None:
    build(tmp_path, facts(10))
    index = RetrievalIndex(tmp_path, ENCODER.fingerprint)
    build(tmp_path, ["new"])
    ((hit,),) = index.search(ENCODER.encode_texts(["fact 9"]), [1])
    assert (hit.caption, len(index)) == ("fact 9", 10)


KILLED = """
import os, signal, sys
from pathlib import Path
from services.retrieval.builder import IndexBuilder
from services.retrieval.entries import Entry
from tests.retrieval_examples import HashEncoder, facts

class Mortal(HashEncoder):
    calls = 0
    def encode_texts(self, texts):
        Mortal.calls += 1
        if Mortal.calls == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode_texts(texts)

IndexBuilder(Path(sys.argv[1]), Mortal(), "hash", 8).run([Entry(text) for text in facts(100)], 100)
"""


def test_a_killed_build_goes_on_where_it_was(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=Path(__file__).parents[2], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(RetrievalError, match="did not finish: run the same"):
        RetrievalIndex(tmp_path, ENCODER.fingerprint)
    with (tmp_path / "vectors.f16").open("ab") as stream:
        stream.write(b"half of a batch that was never counted")

    entries = [Entry(text) for text in facts(100)]
    report = IndexBuilder(tmp_path, ENCODER, "hash", 8).run(entries, 100)
    assert (report.known, report.added, report.total) == (24, 76, 100)
    assert all(found(tmp_path, text) == [text] for text in ("fact 0", "fact 23", "fact 24", "fact 99"))


def test_a_build_that_was_killed_after_embedding_only_makes_the_structure(tmp_path: Path) -> None:
    build(tmp_path, facts(20))
    (tmp_path / structure.INDEX_FILE).unlink()
    build(tmp_path, facts(20))
    assert found(tmp_path, "fact 19") == ["fact 19"]


def test_a_large_index_is_quantised_and_still_finds_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(structure, "FLAT_MAX", 500)
    build(tmp_path, facts(2000), batch_size=512)
    manifest = Manifest.read(tmp_path)
    assert manifest is not None
    assert (manifest.kind, manifest.trained_on, manifest.entries, manifest.state) == ("ivfpq", 2000, 2000, "ready")

    vectors = ENCODER.encode_texts(facts(2000))
    queries = ENCODER.encode_texts([f"query {number}" for number in range(50)])
    truth = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    answers = RetrievalIndex(tmp_path, ENCODER.fingerprint).search(queries, [10] * 50)
    hits = [len({hit.id for hit in answer} & set(ids)) for answer, ids in zip(answers, truth.tolist(), strict=True)]
    assert np.mean(hits) / 10 >= 0.95


def test_an_index_that_outgrows_its_structure_gets_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure, "FLAT_MAX", 500)
    build(tmp_path, facts(400), batch_size=512)
    build(tmp_path, facts(1000), batch_size=512)
    manifest = Manifest.read(tmp_path)
    assert manifest is not None
    assert (manifest.kind, manifest.trained_on) == ("ivfpq", 1000)
    build(tmp_path, facts(1500), batch_size=512)
    manifest = Manifest.read(tmp_path)
    assert manifest is not None
    assert (manifest.entries, manifest.trained_on) == (1500, 1000)
    assert found(tmp_path, "fact 1499") == ["fact 1499"]


def test_the_structure_is_the_same_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure, "FLAT_MAX", 100)
    for name in ("one", "two"):
        build(tmp_path / name, facts(600), batch_size=512)
    one, two = ((tmp_path / name / structure.INDEX_FILE).read_bytes() for name in ("one", "two"))
    assert one == two


def test_another_clips_index_is_refused(tmp_path: Path) -> None:
    build(tmp_path, facts(3))
    with pytest.raises(RetrievalError, match="other CLIP weights"):
        RetrievalIndex(tmp_path, "another")


def test_a_folder_that_is_no_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RetrievalError, match="no retrieval index"):
        RetrievalIndex(tmp_path, ENCODER.fingerprint)


def test_a_damaged_structure_is_named(tmp_path: Path) -> None:
    build(tmp_path, facts(3))
    (tmp_path / structure.INDEX_FILE).write_bytes(b"IxFI")
    with pytest.raises(RetrievalError, match=r"index\.faiss is missing or damaged"):
        RetrievalIndex(tmp_path, ENCODER.fingerprint)


def test_vectors_that_are_cut_off_are_named(tmp_path: Path) -> None:
    build(tmp_path, facts(3))
    os.truncate(tmp_path / "vectors.f16", 20)
    with pytest.raises(RetrievalError, match="cut off"):
        RetrievalIndex(tmp_path, ENCODER.fingerprint)


def test_a_manifest_of_another_format_is_refused(tmp_path: Path) -> None:
    build(tmp_path, facts(3))
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
    with pytest.raises(RetrievalError, match="cannot be read"):
        RetrievalIndex(tmp_path, ENCODER.fingerprint)


def test_two_builds_of_one_folder_at_a_time_are_refused(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(RetrievalError, match="Another build"):
        build(tmp_path, facts(3))


def test_nothing_to_build_from_is_said(tmp_path: Path) -> None:
    with pytest.raises(RetrievalError, match="no entries"):
        build(tmp_path, [])


def test_progress_counts_to_the_end_of_each_stage(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    builder = IndexBuilder(tmp_path, ENCODER, "hash", 4, lambda *progress: told.append(progress))
    builder.run([Entry(text) for text in facts(10)], 10)
    assert told[0] == ("embedding", 0, 10)
    assert ("embedding", 10, 10) in told
    assert told[-1] == ("indexing", 10, 10)


def test_an_index_can_be_read_where_nothing_can_be_written(tmp_path: Path) -> None:
    build(tmp_path, facts(3))
    before = sorted(path.name for path in tmp_path.iterdir())
    for path in tmp_path.iterdir():
        path.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        assert found(tmp_path, "fact 1") == ["fact 1"]
    finally:
        tmp_path.chmod(0o755)
    assert (
        sorted(path.name for path in tmp_path.iterdir())
        == before
        == [
            "index.faiss",
            "manifest.json",
            "metadata.sqlite",
            "vectors.f16",
        ]
    )


def picture(path: Path, shade: int) -> Path:
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(path)
    return path


def test_pictures_are_found_by_pictures_and_give_their_captions(tmp_path: Path) -> None:
    for shade in range(5):
        picture(tmp_path / f"{shade}.png", shade)
    lines = [json.dumps({"image": f"{shade}.png", "caption": f"shade {shade}"}) for shade in range(5)]
    (tmp_path / "captions.jsonl").write_text("\n".join(lines))
    entries = Entries(tmp_path)
    assert len(entries) == 5
    IndexBuilder(tmp_path / "index", ENCODER, "hash").run(entries, len(entries))
    index = RetrievalIndex(tmp_path / "index", ENCODER.fingerprint)
    ((hit,),) = index.search(ENCODER.encode_pictures([Image.open(tmp_path / "3.png")]), [1])
    assert (hit.caption, hit.source) == ("shade 3", "3.png")
    assert index.manifest.modality == "image"


def test_pictures_that_cannot_be_read_are_left_out_and_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    entries = [
        Entry("good", picture(tmp_path / "good.png", 9)),
        Entry("broken", tmp_path / "broken.png"),
        Entry("lost", tmp_path / "lost.png"),
    ]
    report = IndexBuilder(tmp_path / "index", ENCODER, "hash").run(entries, 3)
    assert (report.added, report.total) == (1, 1)
    assert [Path(problem.split(" ")[0]).name for problem in report.unreadable] == ["broken.png", "lost.png"]


def test_an_index_of_unreadable_pictures_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RetrievalError, match=r"None of the 1 entries could be read: .*lost\.png is not there"):
        IndexBuilder(tmp_path / "index", ENCODER, "hash").run([Entry("lost", tmp_path / "lost.png")], 1)


def test_a_build_that_stored_nothing_decides_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    with pytest.raises(RetrievalError, match="None of the 1"):
        IndexBuilder(folder, ENCODER, "hash").run([Entry("lost", tmp_path / "lost.png")], 1)
    with pytest.raises(RetrievalError, match="no entries"):
        build(folder, [])
    build(folder, ["a text after all"])
    assert found(folder, "a text after all") == ["a text after all"]


def test_pictures_of_one_name_in_several_folders_are_all_found(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    for shade, folder in enumerate(("monday", "tuesday")):
        (pictures / folder).mkdir(parents=True)
        picture(pictures / folder / "1.png", shade)
        (pictures / folder / "1.txt").write_text("a boat")
    index = tmp_path / "index"
    report = IndexBuilder(index, ENCODER, "hash").run(Entries(pictures), 2)
    assert (report.added, report.known) == (2, 0)
    assert IndexBuilder(index, ENCODER, "hash").run(Entries(pictures), 2).known == 2

    (tmp_path / "captions.jsonl").write_text(
        "\n".join(json.dumps({"image": f"pictures/{day}/1.png", "caption": "a boat"}) for day in ("monday", "tuesday"))
    )
    report = IndexBuilder(tmp_path / "other", ENCODER, "hash").run(Entries(tmp_path), 2)
    assert report.added == 2


def test_another_picture_of_the_same_name_and_caption_is_added(tmp_path: Path) -> None:
    for day, side in (("monday", 4), ("tuesday", 40)):
        (tmp_path / day).mkdir()
        Image.new("RGB", (side, side), (side, 0, 0)).save(tmp_path / day / "1.png")
        (tmp_path / day / "1.txt").write_text("a boat")
        report = IndexBuilder(tmp_path / "index", ENCODER, "hash").run(Entries(tmp_path / day), 1)
        assert report.added == 1


def test_texts_and_pictures_do_not_mix_in_one_index(tmp_path: Path) -> None:
    build(tmp_path / "texts", facts(3))
    builder = IndexBuilder(tmp_path / "texts", ENCODER, "hash")
    with pytest.raises(RetrievalError, match=r"vectors of texts, but the entry 'good' has a picture"):
        builder.run([Entry("good", picture(tmp_path / "good.png", 9))], 1)


def test_metadata_is_read_by_id_in_the_order_asked(tmp_path: Path) -> None:
    build(tmp_path, facts(30))
    storage = Storage(tmp_path, ENCODER.dim)
    assert [row.caption for row in storage.metadata([29, 0, 7])] == ["fact 29", "fact 0", "fact 7"]
    with pytest.raises(KeyError):
        storage.metadata([30])
    storage.close()


def test_captions_come_from_text_lines_and_from_files_beside_pictures(tmp_path: Path) -> None:
    (tmp_path / "facts.txt").write_text("one\n\n  two \n", encoding="utf-8")
    entries = Entries(tmp_path / "facts.txt")
    assert len(entries) == 2
    assert [entry.caption for entry in entries] == ["one", "two"]

    folder = tmp_path / "pictures"
    folder.mkdir()
    picture(folder / "a.png", 1)
    (folder / "a.txt").write_text("a red\npicture")
    assert [(entry.caption, entry.source) for entry in Entries(folder)] == [("a red picture", "a.png")]
    picture(folder / "b.png", 2)
    with pytest.raises(RetrievalError, match=r"b\.png has no caption: put it in b\.txt"):
        list(Entries(folder))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "Expecting property name"),
        ("[]", "a line is an object"),
        ('{"image": "1.png"}', "caption is missing"),
        ('{"caption": "  "}', "caption is missing"),
        ('{"caption": 7}', "caption must be text"),
        ('{"caption": "a", "imgae": "1.png"}', "unknown field 'imgae'"),
    ],
)
def test_a_wrong_line_is_named_with_its_number(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_text('{"caption": "fine"}\n' + line)
    with pytest.raises(RetrievalError, match=rf"facts\.jsonl, line 2: .*{complaint}"):
        list(Entries(path))


def test_a_source_that_is_not_there_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RetrievalError, match="is not there"):
        Entries(tmp_path / "nothing.jsonl")
    (tmp_path / "facts.csv").write_text("a")
    with pytest.raises(RetrievalError, match=r"no \.jsonl or \.txt"):
        Entries(tmp_path / "facts.csv")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(RetrievalError, match="not UTF-8"):
        list(Entries(tmp_path / "latin.txt"))


def test_codes_divide_the_vectors() -> None:
    assert [structure.codes_for(dim) for dim in (768, 512, 192, 100, 17)] == [96, 64, 24, 10, 1]
