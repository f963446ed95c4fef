"""Made-up texts such as OCR finds in pictures, with the parts that people ask for.

They are as varied as can be (real words, invented words, names, codes, prices, odd capitals, recognition mistakes,
1 to 25 lines), because a small planner must learn to copy whatever the tool read, not to recite known texts.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

_FIRST = "Anna Ben Clara David Emma Felix Grace Hugo Ines Jonas Karim Lena Marta Nadia Omar Petra Rosa Sam Tara Victor"
_LAST = "Miller Okafor Santos Becker Rossi Tanaka Dubois Hansen Ivanova Khan Lopez Meyer Novak Schmidt Young Zhou"
_STREETS = "Mill Station Church Garden River Park High Oak Lake Market North Queen Bridge Hill Castle Forest Harbour"
_SHOPS = "Bakery Cafe Garage Pharmacy Books Flowers Hotel Bistro Market Studio Clinic Library Museum Salon Bank"
_DISHES = (
    "tomato soup|green salad|fried rice|apple pie|cheese omelette|fish and chips|lentil curry|mushroom pasta|hot dog|"
    "black coffee|lemon tea|orange juice|ice cream|pancakes|grilled chicken|veggie burger|garlic bread|bean burrito|"
    "espresso|cappuccino|croissant|carrot cake|beef stew|onion rings|ramen|falafel plate|house wine|mineral water"
)
_GOODS = "milk|bread|butter|eggs|rice|soap|batteries|pens|notebook|apples|cheese|tea bags|candles|socks|shampoo|flour"
_MONTHS = "January February March April May June July August September October November December"
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
_NOTICES = (
    "Please keep off the grass|No parking at any time|Mind the gap|Wet floor|Push to open|Staff only|Fire exit|"
    "Do not feed the animals|Keep this door closed|Out of order|Beware of the dog|Private property|Ring the bell|"
    "Wash your hands before work|Wear a helmet on site|No smoking in this building|Turn off your phone|Way out|"
    "Closed for the holidays|Free entry for children|Caution: high voltage|Lost cat, answers to the name of|"
    "Keep refrigerated after opening|Shake well before use|Use by the date shown|Tickets available at the desk"
)
_SYLLABLES = "ba be bo ca ce da de di do fa fi ga go ha he ka ke la le li lo ma mi mo na ne no pa pe po ra re ro sa se"
_ENDINGS = "n|r|s|t|l|x|nd|rt|sk|ng|m|th|ck|"
_MISREAD = {"l": "1", "O": "0", "S": "5", "e": "c", "i": "1", "B": "8", "rn": "m", "I": "l", "o": "0"}


@dataclass(frozen=True)
class OcrText:
    """What OCR read, line by line, and parts of it by the name of what is asked (`phone`, `price`, ...)."""

    lines: list[str]
    parts: dict[str, str] = field(default_factory=dict)
    item: str = ""

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class OcrTexts:
    """Draws texts; `words` is the vocabulary that running text is made of."""

    def __init__(self, words: list[str], rng: random.Random) -> None:
        self._words = words
        self._rng = rng
        self._kinds: tuple[tuple[Callable[[], OcrText], float], ...] = (
            (self._running, 3.0),
            (self._notice, 2.0),
            (self._menu, 1.5),
            (self._receipt, 1.0),
            (self._card, 1.5),
            (self._event, 1.5),
            (self._letter, 1.0),
            (self._fragments, 1.5),
            (self._code, 0.7),
        )

    def draw(self) -> OcrText:
        """A text of any kind, with `title`, `second` and `last` among its parts, as their lines exist."""
        kinds, weights = zip(*self._kinds, strict=True)
        drawn: OcrText = self._rng.choices(kinds, weights)[0]()
        if not drawn.parts and self._rng.random() < 0.25:
            drawn = OcrText([self._spoil(line) for line in drawn.lines])
        shape = {"title": drawn.lines[0]}
        if len(drawn.lines) > 2:
            shape |= {"second": drawn.lines[1], "last": drawn.lines[-1]}
        return OcrText(drawn.lines, shape | drawn.parts, drawn.item)

    def _pick(self, words: str, separator: str | None = None) -> str:
        return self._rng.choice(words.split(separator))

    def _digits(self, count: int) -> str:
        return "".join(self._rng.choice("0123456789") for _ in range(count))

    def _word(self) -> str:
        if self._rng.random() < 0.15:
            syllables = "".join(self._pick(_SYLLABLES) for _ in range(self._rng.randint(1, 3)))
            return syllables + self._pick(_ENDINGS, "|")
        return self._rng.choice(self._words)

    def _styled(self, text: str) -> str:
        style = self._rng.random()
        if style < 0.2:
            return text.upper()
        return text.title() if style < 0.35 else text[:1].upper() + text[1:]

    def _phrase(self, low: int, high: int) -> str:
        words = [self._word() for _ in range(self._rng.randint(low, high))]
        phrase = " ".join(word if self._rng.random() < 0.1 else word.lower() for word in words)
        if len(words) > 2 and self._rng.random() < 0.25:
            phrase = phrase.replace(" ", self._rng.choice((", ", "-", " & ", ": ", " / ")), 1)
        return phrase

    def _spoil(self, line: str) -> str:
        for right, wrong in self._rng.sample(sorted(_MISREAD.items()), 2):
            line = line.replace(right, wrong, 1)
        return line

    def _name(self) -> str:
        return f"{self._pick(_FIRST)} {self._pick(_LAST)}"

    def _price(self) -> str:
        amount = f"{self._rng.randint(0, 40)}.{self._digits(2)}"
        return self._rng.choice((amount, f"${amount}", f"{amount} EUR", f"£{amount}", amount.replace(".", ",")))

    def _phone(self) -> str:
        a, b, c = (self._digits(n) for n in (3, 3, 4))
        return self._rng.choice((f"{a}-{b}-{c}", f"({a}) {b} {c}", f"0{a} {b}{c}", f"+{b[:2]} {a} {c}", f"{a} {c}"))

    def _address(self) -> str:
        return f"{self._rng.randint(1, 250)} {self._pick(_STREETS)} {self._rng.choice(('Street', 'Road', 'Lane'))}"

    def _hours(self) -> str:
        start, end = self._rng.randint(6, 11), self._rng.randint(4, 10)
        form = self._rng.choice(("{0} am - {1} pm", "{0}:00 - {2}:30", "{0}-{2}h", "from {0} to {2}"))
        days = self._rng.choice(("Mon-Fri", "Daily", "Monday to Saturday", "Open", self._pick(_DAYS)))
        return f"{days} {form.format(start, end, end + 12)}"

    def _date(self) -> str:
        day, year = self._rng.randint(1, 28), self._rng.randint(1995, 2031)
        month = self._pick(_MONTHS)
        numbers = f"{day:02}.{self._rng.randint(1, 12):02}.{year}"
        named = f"{self._pick(_DAYS)}, {day} {month}"
        return self._rng.choice((f"{day} {month} {year}", f"{month} {day}", named, numbers))

    def _shop(self) -> str:
        return self._styled(f"{self._rng.choice((self._pick(_LAST), self._word().title()))} {self._pick(_SHOPS)}")

    def _running(self) -> OcrText:
        """Sentences broken into lines, as on a poster or a page."""
        words = self._phrase(6, self._rng.choice((14, 25, 45, 70))).split()
        out: list[str] = [self._styled(self._phrase(2, 6))] if self._rng.random() < 0.5 else []
        while words:
            take = self._rng.randint(2, 8)
            line, words = " ".join(words[:take]), words[take:]
            out.append(line[0].upper() + line[1:] if self._rng.random() < 0.5 else line)
        return OcrText(out)

    def _notice(self) -> OcrText:
        count = self._rng.randint(1, 4)
        notices = [self._styled(notice) for notice in self._rng.sample(_NOTICES.split("|"), count)]
        return OcrText(notices + ([self._styled(self._phrase(1, 5))] if self._rng.random() < 0.5 else []))

    def _menu(self) -> OcrText:
        dishes = self._rng.sample(_DISHES.split("|"), self._rng.randint(2, 7))
        prices = [self._price() for _ in dishes]
        dot = self._rng.choice((" ", " ", " .... ", "  ", "\n"))
        out = [self._rng.choice(("Menu", "Today", "Specials", self._shop()))]
        for dish, price in zip(dishes, prices, strict=True):
            out += f"{self._styled(dish)}{dot}{price}".split("\n")
        wanted = self._rng.randrange(len(dishes))
        return OcrText(out, {"price": prices[wanted]}, dishes[wanted])

    def _receipt(self) -> OcrText:
        goods = self._rng.sample(_GOODS.split("|"), self._rng.randint(1, 6))
        prices = [self._price() for _ in goods]
        total, date, shop = self._price(), self._date(), self._shop()
        body = [f"{self._styled(good)} {price}" for good, price in zip(goods, prices, strict=True)]
        wanted = self._rng.randrange(len(goods))
        word = self._rng.choice(("Total", "TOTAL", "Sum", "Amount due", "To pay"))
        parts = {"price": prices[wanted], "total": total, "date": date}
        return OcrText([shop, date, *body, f"{word} {total}", "Thank you"], parts, goods[wanted])

    def _card(self) -> OcrText:
        name, phone, address, shop = self._name(), self._phone(), self._address(), self._shop()
        site = f"{shop.split()[0].lower()}-{self._word().lower()}.{self._rng.choice(('com', 'org', 'net', 'eu'))}"
        email, hours = f"{name.split()[0].lower()}@{site}", self._hours()
        options = {"phone": phone, "address": address, "email": email, "web": f"www.{site}", "hours": hours}
        kept = self._rng.sample(sorted(options), self._rng.randint(1, 5))
        prefix = {"phone": self._rng.choice(("Tel ", "Call ", "", "Phone: "))}
        body = [prefix.get(key, "") + options[key] for key in kept]
        head = [shop] + ([name] if self._rng.random() < 0.5 else [])
        return OcrText(head + body, {key: options[key] for key in kept})

    def _event(self) -> OcrText:
        date, address, price = self._date(), self._address(), self._price()
        title = self._styled(self._phrase(2, 4))
        out = [title, date, address, self._styled(self._phrase(1, 6)), f"Tickets {price}"]
        return OcrText(out, {"date": date, "address": address, "price": price}, "a ticket")

    def _letter(self) -> OcrText:
        sender, recipient = self._name(), self._name()
        body = [self._phrase(3, 8).capitalize() for _ in range(self._rng.randint(1, 6))]
        out = [f"Dear {recipient},", *body, self._rng.choice(("Yours", "Kind regards,", "Love", "Best wishes")), sender]
        return OcrText(out, {"sender": sender, "recipient": recipient})

    def _fragments(self) -> OcrText:
        count = self._rng.choice((1, 1, 2, 3, 5, 8, 12, 18, 25))
        draws = (self._word, lambda: self._phrase(1, 5), lambda: self._digits(3), self._name, self._price, self._date)
        return OcrText([self._styled(self._rng.choice(draws)()) for _ in range(count)])

    def _code(self) -> OcrText:
        letters = "".join(self._rng.choice("ABCDEFGHKLMNPRSTUVWXYZ") for _ in range(self._rng.randint(1, 3)))
        code = self._rng.choice(("{0} {1}", "{0}-{1}", "{0}{1}", "{1}{0}")).format(letters, self._digits(4))
        out = [code]
        if self._rng.random() < 0.5:
            out = [self._styled(self._phrase(1, 3)), f"No. {code}"]
        return OcrText(out, {"code": code})
