from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.models.captions import caption_of, packed, phrases_of


def words_in(phrase: str) -> int:
    return len(phrase.split())


@pytest.mark.parametrize(
    ("caption", "phrases"),
    [
        ("girl . cart", ["girl", "cart"]),
        ("Girl. Red  Cart.", ["girl", "red cart"]),
        ("a girl, who sits. a cart", ["a girl, who sits", "a cart"]),
        ("girl, cart, dog", ["girl", "cart", "dog"]),
        ("girl, cart.", ["girl", "cart"]),
        ("['girl', 'cart']", ["girl", "cart"]),
        ("girl\ncart", ["girl", "cart"]),
        ("girl . girl . cart", ["girl", "cart"]),
        ("girl", ["girl"]),
        ("", []),
        (" . , ", []),
        ("[]", []),
        ("????", []),
    ],
)
def test_a_caption_names_things_in_any_of_the_ways_planners_write_them(caption: str, phrases: list[str]) -> None:
    assert phrases_of(caption) == phrases


def test_the_model_reads_phrases_that_end_with_full_stops() -> None:
    assert caption_of(["girl", "red cart"]) == "girl . red cart ."


def test_phrases_are_packed_so_that_none_is_cut() -> None:
    # [CLS] and [SEP] take two places, each full stop one.
    assert packed(["a b", "c", "d e f", "g"], words_in, 8) == [["a b", "c"], ["d e f", "g"]]


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(" ".join)), st.integers(7, 30))
def test_packing_keeps_every_phrase_in_order_and_within_the_limit(phrases: list[str], limit: int) -> None:
    groups = packed(phrases, words_in, limit)
    assert [phrase for group in groups for phrase in group] == phrases
    assert all(2 + sum(words_in(phrase) + 1 for phrase in group) <= limit for group in groups)
    assert all(groups)
