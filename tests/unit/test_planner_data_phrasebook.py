"""Wordings of requests: how they are dealt, and that there are enough of them."""

from __future__ import annotations

import pytest

from planner.data.phrasebook import Phrasebook, Slots, Wording, general_nouns, numbers, read_nouns, read_wordings
from planner.data.rows.knowledge import look_up, look_up_beyond
from planner.data.validation import normalised_request
from planner.data.wordings import FOLDER
from tests.planner_data_scenes import VOCABULARY, desk

KINDS = ("options", "question", "two_pictures", "wishes")
REQUESTED = [
    "detect",
    "where",
    "count",
    "segment",
    "sam_marked",
    "semantic",
    "levels",
    "example",
    "caption",
    "grounded_caption",
    "tags",
    "grounded_tags",
    "lookup",
    "generate",
    "edit",
    "inpaint_marked",
    "repaint",
    "chat",
    "impossible",
]
"""Wordings with enough variety to learn a choice from."""


def test_a_wording_is_not_repeated_before_all_are_used() -> None:
    book = Phrasebook(3)
    all_of_them = {wording.text for wording in read_wordings("caption")}
    assert {book.deal("caption").text for _ in range(len(all_of_them))} == all_of_them


def test_shards_deal_from_different_places_of_the_same_deck() -> None:
    first, later = Phrasebook(3), Phrasebook(3, 0.5)
    assert first.deal("caption") != later.deal("caption")


def test_slots_keep_their_values_and_are_spared_by_slips_of_the_pen() -> None:
    for seed in range(60):
        one = desk(seed)
        slots: Slots = one.slots()
        said = slots.spoken("Replace the {noun} with {a_new}, and again the {noun}.")
        assert said.count(slots.fill("{noun}")) >= 2
        assert slots.fill("{a_new}") in said


def test_every_slot_of_every_wording_can_be_filled() -> None:
    for path in sorted(FOLDER.glob("*.tsv")):
        if path.name in ("answer.tsv", "nouns.tsv", "read_part.tsv"):
            continue
        for wording in read_wordings(path.stem, kinds=path.stem in KINDS):
            slots = desk(1).slots()
            slots.values["wish"] = "Draw a cat."
            filled = slots.fill(wording.text) + slots.fill(wording.argument)
            assert "{" not in filled, (path.name, wording)


@pytest.mark.parametrize("name", REQUESTED)
def test_each_kind_of_request_has_150_different_wordings(name: str) -> None:
    assert len({normalised_request(wording.text) for wording in read_wordings(name)}) >= 150


def test_no_wording_stands_for_two_kinds_of_request() -> None:
    owners: dict[str, str] = {}
    shared = []
    for path in sorted(FOLDER.glob("*.tsv")):
        if path.stem.startswith(("follow_", "answer", "nouns", "read_part", "chat")) or path.stem == "lookup":
            continue
        for wording in read_wordings(path.stem, kinds=path.stem in KINDS):
            known = owners.setdefault(normalised_request(wording.text), path.stem)
            if known != path.stem:
                shared.append((wording.text, known, path.stem))
    assert not shared


def test_a_look_up_beyond_the_picture_asks_for_what_the_request_names() -> None:
    known = {noun.name for name in ("subjects", "names") for noun in read_nouns(name)}
    for seed in range(40):
        one = desk(seed)
        (action,) = look_up_beyond(one).actions
        assert action.API_params["query"] in known
        assert one.choice_only, "there are no facts to answer from"


def test_a_look_up_that_says_how_many_results_asks_for_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    one = desk(3)
    monkeypatch.setattr(one.book, "deal", lambda name: Wording("{count} facts about {nouns}", "{noun}"))
    request = look_up(one)
    params = request.actions[0].API_params
    assert params.keys() == {"query", "top_k"}
    assert str(params["top_k"]) in request.text.split()


def test_general_nouns_have_plurals() -> None:
    nouns = general_nouns()
    assert len(nouns) >= 200
    assert all(noun.plural and noun.one.startswith(("a ", "an ")) for noun in nouns)
    assert not {noun.name for noun in nouns} & {noun.name for noun in VOCABULARY.nouns}


def test_numbers_are_read_from_coordinates() -> None:
    assert numbers("[0.10, 0.25, 0.5, 0.75]") == [0.1, 0.25, 0.5, 0.75]
    assert numbers("(0.32, 0.55)") == [0.32, 0.55]
