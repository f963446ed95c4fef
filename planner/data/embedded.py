"""Training samples for the embedded planner: read the text with easyocr, or just answer.

`generate(count, seed)` is deterministic. Pictures are named `noise:N`: the vision tower is still untrained, so the
trainer shows random pictures in their place and the planner learns to disregard them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import TypeVar

from planner.conversation import AssistantTurn, Conversation, Observation, ObservationTurn, Turn, UserTurn
from planner.data.ocr_texts import OcrText, OcrTexts
from planner.data.released import Sample, to_sample
from planner.data.wordings import Wordings, fill, vary
from planner.format import Action, PlannerOutput

T = TypeVar("T")

SKILL = "easyocr"
CALL = PlannerOutput(thoughts="Read the text.", actions=(Action(API_name=SKILL),), value="Let me read it.")
NO_TOOL = "No tool needed."
TEXT_IS_READ = "The text is read."
TOOL_FAILED = "The tool failed."
NOTHING_FOUND = "I found no text in the picture."
APOLOGY = "Sorry, I could not read the text: the tool failed. Please try again later."
NO_PICTURE = "Please attach a picture first, then I can read the text in it."

_PART_ANSWERS = {
    "phone": "The phone number is {}.",
    "price": "{item} costs {}.",
    "total": "The total is {}.",
    "hours": "The opening hours are: {}.",
    "date": "The date is {}.",
    "address": "The address is {}.",
    "email": "The email address is {}.",
    "web": "The website is {}.",
    "title": 'The first line says: "{}"',
    "second": 'The second line says: "{}"',
    "last": 'The last line says: "{}"',
    "sender": "It is from {}.",
    "recipient": "It is for {}.",
    "code": "It is {}.",
}
_FAILURES = (
    {"error": "The skill did not answer in time."},
    {"error": "The skill is not available."},
    {"error": "The skill broke on this input."},
    {"error": "deadline_exceeded"},
)
_CAPITALS = {"Poland": "Warsaw", "Greece": "Athens", "Portugal": "Lisbon", "Austria": "Vienna", "Norway": "Oslo"}


def generate(count: int, seed: int) -> Iterator[Sample]:
    """`count` samples in the released form; the same seed gives the same samples."""
    generator = EmbeddedData(Wordings.load(), random.Random(seed))
    for number in range(count):
        yield to_sample(f"embedded_{seed}_{number:06}", generator.conversation())


class EmbeddedData:
    """Draws conversations. Every wording of a file is used before one comes again."""

    def __init__(self, wordings: Wordings, rng: random.Random) -> None:
        self._words = wordings
        self._rng = rng
        self._texts = OcrTexts(wordings.vocabulary(), rng)
        self._decks: dict[str, list[object]] = {}
        self._pictures = 0
        self._kinds: tuple[tuple[Callable[[], Conversation], float], ...] = (
            (self._whole_text, 22.0),
            (self._part_of_text, 9.0),
            (self._call_only, 14.0),
            (self._answer, 30.0),
            (self._cannot_see, 9.0),
            (self._second_question, 8.0),
            (self._chat_then_read, 3.0),
            (self._nothing_or_failed, 3.0),
            (self._without_picture, 2.0),
        )

    def conversation(self) -> Conversation:
        kinds, weights = zip(*self._kinds, strict=True)
        drawn: Conversation = self._rng.choices(kinds, weights)[0]()
        return drawn

    def _next(self, name: str, items: list[T]) -> T:
        """The next card of a shuffled deck of `items`."""
        deck: list[object] = self._decks.get(name) or self._rng.sample(items, len(items))
        self._decks[name] = deck[:-1]
        card: T = deck[-1]  # type: ignore[assignment]  # the deck holds these items
        return card

    def _picture(self) -> str:
        self._pictures += 1
        return f"noise:{self._pictures}"

    def _ask(self, text: str, picture: bool = True) -> UserTurn:
        return UserTurn(text=text, images=(self._picture(),) if picture else ())

    def _whole_question(self) -> str:
        wording = self._next("whole", self._words.read_whole)
        return vary(fill(wording, self._rng, self._words.things), self._rng)

    def _part_question(self, part: str, item: str) -> str:
        wording = self._next(f"part {part}", [text for key, text in self._words.read_part if key == part])
        named = item if item.startswith("a ") or self._rng.random() < 0.2 else f"the {item}"
        return vary(fill(wording, self._rng, self._words.things).replace("{item}", named), self._rng)

    def _other_question(self) -> str:
        """A question that needs the text, about something that the made-up texts have no part for."""
        wording = self._next("other", self._words.read_other)
        return vary(fill(wording, self._rng, self._words.things), self._rng)

    def _any_reading_question(self) -> str:
        draw = self._rng.random()
        if draw < 0.75:
            return self._whole_question() if draw < 0.4 else self._other_question()
        part = self._next("parts", sorted({key for key, _ in self._words.read_part}))
        return self._part_question(part, self._texts.draw().item or "coffee")

    def _question_and_answer(self) -> tuple[str, str]:
        if self._rng.random() < 0.06:
            a, b = self._rng.randint(1, 20), self._rng.randint(1, 20)
            form = self._rng.choice(("What is {} + {}?", "{} plus {}?", "How much is {} and {}?", "add {} and {}"))
            return vary(form.format(a, b), self._rng), f"{a + b}."
        if self._rng.random() < 0.02:
            country = self._rng.choice(sorted(_CAPITALS))
            return vary(f"What is the capital of {country}?", self._rng), f"{_CAPITALS[country]}."
        question, answer = self._next("answer", self._words.answer)
        return vary(question, self._rng), answer

    def _read(self, question: str, ocr: OcrText, answer: str) -> list[Turn]:
        """A question, the call, what it gave and the answer."""
        found = Observation(skill=SKILL, content={"text": ocr.text})
        return [
            self._ask(question),
            AssistantTurn(output=CALL),
            ObservationTurn(observations=(found,), question=question),
            _says(TEXT_IS_READ, answer),
        ]

    def _whole_text(self) -> Conversation:
        ocr = self._texts.draw()
        question = self._whole_question() if self._rng.random() < 0.75 else self._other_question()
        return tuple(self._read(question, ocr, whole_text(ocr.text)))

    def _part_of_text(self) -> Conversation:
        ocr = self._texts.draw()
        if self._rng.random() < 0.1:
            part = self._next("parts", sorted({key for key, _ in self._words.read_part}))
            if part not in ocr.parts:
                answer = f"I do not find that. {whole_text(ocr.text)}"
                return tuple(self._read(self._part_question(part, "cake"), ocr, answer))
        part = self._rng.choice(sorted(ocr.parts))
        return tuple(self._read(self._part_question(part, ocr.item), ocr, part_answer(ocr, part)))

    def _call_only(self) -> Conversation:
        return self._ask(self._any_reading_question()), AssistantTurn(output=CALL)

    def _answer(self) -> Conversation:
        question, answer = self._question_and_answer()
        return self._ask(question, picture=self._rng.random() < 0.75), _says(NO_TOOL, answer)

    def _cannot_see(self) -> Conversation:
        wording = fill(self._next("cannot see", self._words.cannot_see), self._rng, self._words.things)
        return self._ask(vary(wording, self._rng)), _says(NO_TOOL, self._rng.choice(self._words.cannot_see_answers))

    def _second_question(self) -> Conversation:
        """After a reading: chat, another part of the same text, or another picture to read."""
        ocr = self._texts.draw()
        first = self._read(self._whole_question(), ocr, whole_text(ocr.text))
        draw = self._rng.random()
        if draw < 0.45:
            question, answer = self._question_and_answer()
            return *first, self._ask(question, picture=False), _says(NO_TOOL, answer)
        if draw < 0.75:
            part = self._rng.choice(sorted(ocr.parts))
            question = self._part_question(part, ocr.item)
            return *first, self._ask(question, picture=False), _says(NO_TOOL, part_answer(ocr, part))
        return *first, self._ask(self._any_reading_question()), AssistantTurn(output=CALL)

    def _chat_then_read(self) -> Conversation:
        """The picture came with the greeting and is read only when a later question needs it."""
        question, answer = self._question_and_answer()
        turns: list[Turn] = [self._ask(question), _says(NO_TOOL, answer)]
        if self._rng.random() < 0.3:
            question, answer = self._question_and_answer()
            return *turns, self._ask(question, picture=False), _says(NO_TOOL, answer)
        return *turns, self._ask(self._any_reading_question(), picture=False), AssistantTurn(output=CALL)

    def _nothing_or_failed(self) -> Conversation:
        question = self._any_reading_question()
        if self._rng.random() < 0.6:
            return tuple(self._read(question, OcrText([]), NOTHING_FOUND))
        failure = Observation(skill=SKILL, content=self._rng.choice(_FAILURES), failed=True)
        result = ObservationTurn(observations=(failure,), question=question)
        return self._ask(question), AssistantTurn(output=CALL), result, _says(TOOL_FAILED, APOLOGY)

    def _without_picture(self) -> Conversation:
        return self._ask(self._any_reading_question(), picture=False), _says(NO_TOOL, NO_PICTURE)


def part_answer(ocr: OcrText, part: str) -> str:
    """The answer that gives one part of a text."""
    item = ocr.item[:1].upper() + ocr.item[1:]
    return _PART_ANSWERS[part].format(ocr.parts[part], item=item)


def whole_text(text: str) -> str:
    """The answer that gives a whole text: the same run of text as in the observation, easy to copy."""
    return f"It says:\n{text}"


def _says(thoughts: str, value: str) -> AssistantTurn:
    return AssistantTurn(output=PlannerOutput(thoughts=thoughts, value=value))
