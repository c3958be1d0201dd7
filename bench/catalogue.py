"""The catalogue: books whose words and headings are drawn with a fixed seed, so that anybody gets them alike."""

import random
from bisect import bisect
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

from library.exchange import numbers
from library.rules import catalogue, words

SEED = 1876
# Each of at most so many words stands in the titles of so many books, however many books there are.
RARE_WORDS, HITS = 500, 100
# In every tenth title.
COMMON_WORD = "harbour"
OPENED = datetime(2020, 1, 6, 9, 0, 0, 1, UTC)


def vocabulary(size: int = 5000) -> list[str]:
    """Words that nobody has read before, the same every time."""
    chance = random.Random(SEED)
    onsets = ["b", "br", "d", "f", "g", "gr", "k", "l", "m", "n", "p", "pl", "r", "s", "st", "t", "tr", "v"]
    found: dict[str, None] = {}
    while len(found) < size:
        syllables = (
            chance.choice(onsets) + chance.choice("aeiou") + chance.choice(["", "n", "r", "s", "l"])
            for _ in range(chance.randint(2, 3))
        )
        found["".join(syllables)] = None
    return list(found)


def rare_words(books: int) -> list[str]:
    """The words that stand in a hundred titles each of so many books; no other word begins so."""
    many = min(RARE_WORDS, max(1, books // HITS))
    return [f"q{chr(97 + number // 25)}x{chr(97 + number % 25)}z" for number in range(many)]


def _links(book_id: int, keys: Iterable[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    """What links a book to each of at most three others, in their order."""
    for position, key in enumerate(keys, 1):
        yield key, {"id": book_id * 3 + position, "book_id": book_id, "position": position}


# As the rule has them (library/rules/catalogue.py), before the year.
INDEXED = ("title", "subtitle", "series", "publisher", "year_text")


class Catalogue:
    """The books: each is drawn by a chance of its own number, so that any of them can be made alone."""

    def __init__(self, books: int) -> None:
        self.books, self.vocabulary, self.rare = books, vocabulary(), rare_words(books)
        self.authors = self._names("{}, {} {}.", max(50, books // 4))
        self.subjects = self._names("{} -- {} {}", min(20_000, max(50, books // 20)))
        # As in any language, few words are common and many are rare.
        self.weights = list(accumulate(1 / rank for rank in range(5, len(self.vocabulary) + 5)))

    def _names(self, form: str, many: int) -> list[str]:
        """Two words and a number, which tells namesakes apart."""
        chance = random.Random(SEED)
        pairs = ((word.capitalize() for word in chance.sample(self.vocabulary, 2)) for _ in range(many))
        return [form.format(*pair, number) for number, pair in enumerate(pairs, 1)]

    def records(self) -> Iterator[tuple[list[dict[str, Any]], ...]]:
        """The rows of each book: its own, its contributions, its subjects and its identifiers."""
        for number in range(1, self.books + 1):
            chance = random.Random(SEED * number)
            book, isbn = self.book(number, chance), _isbn(number)
            by = dict.fromkeys(chance.randrange(len(self.authors)) for _ in range(chance.choice((1, 1, 1, 2, 3))))
            about = dict.fromkeys(chance.randrange(len(self.subjects)) for _ in range(chance.choice((1, 2, 2, 3))))
            book["title_key"] = words.sort_key(book["title"])
            book["words"] = catalogue.indexed_words(
                (*(book[name] for name in INDEXED), str(book["year"])),
                (self.authors[key] for key in by),
                (self.subjects[key] for key in about),
                (numbers.spellings("isbn", isbn),),
            )
            yield (
                [book],
                [link | {"author_id": key + 1, "role": "author"} for key, link in _links(number, by)],
                [link | {"subject_id": key + 1} for key, link in _links(number, about)],
                [{"id": number, "book_id": number, "scheme": "isbn", "value": isbn, "position": 1}],
            )

    def book(self, number: int, chance: random.Random) -> dict[str, Any]:
        """The book of that number, without its words."""
        year, made = chance.randint(1900, 2025), moment(OPENED + timedelta(seconds=number * 60))
        return {
            "id": number,
            "material_type": "book",
            "title": self._title(number, chance).capitalize(),
            "subtitle": self._words(chance, 4) if number % 5 < 2 else None,
            "publisher": f"{self.vocabulary[chance.randrange(500)].capitalize()} Press",
            "year": year,
            "year_text": f"c{year}",
            "edition": "2nd ed." if number % 7 == 0 else None,
            "language": chance.choice(("eng", "eng", "eng", "ger", "fre", "spa")),
            "pages": chance.randint(40, 900),
            "series": f"{self._words(chance, 2)} ; {chance.randint(1, 90)}" if number % 6 == 0 else None,
            "description": self._words(chance, 25) if number % 3 == 0 else None,
            "control_number": f"b{number:08d}",
            "created_at": made,
            "updated_at": made,
        }

    def _title(self, number: int, chance: random.Random) -> str:
        title = self._words(chance, chance.randint(3, 7)).split()
        at = number % max(1, self.books // HITS)
        if at < len(self.rare):
            # Never the first word: a title that begins so would stand before the others.
            title.insert(2, self.rare[at])
        if number % 10 == 0:
            title.insert(1, COMMON_WORD)
        return " ".join(title)

    def _words(self, chance: random.Random, count: int) -> str:
        total, weights = self.weights[-1], self.weights
        return " ".join(self.vocabulary[bisect(weights, chance.random() * total)] for _ in range(count))


def _isbn(number: int) -> str:
    digits = f"978{number:09d}"
    total = sum(int(digit) * (3 if at % 2 else 1) for at, digit in enumerate(digits))
    return f"{digits}{-total % 10}"


def moment(at: datetime) -> str:
    """A moment of UTC, as both databases read it; never a whole second, so that all peers write six digits."""
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond or 1:06d}"
