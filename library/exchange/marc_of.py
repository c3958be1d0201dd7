"""A book as a MARC 21 record: the one it came as, with only those fields replaced whose values were changed here."""

import re
from collections.abc import Callable, Hashable, Iterable, Sequence

from pymarc import Field, Leader, Record, Subfield

from library.exchange import marc, marc_fields
from library.exchange.iso2709 import Unreadable, decode, look
from library.exchange.marc import CONTRIBUTORS, SERIES, SUBJECT_TAGS, TAGS, Punctuation, to_book_record
from library.exchange.records import BookRecord, ContributorRecord
from library.exchange.texts import clean

_END_MARK = re.compile(r"\s*[/:;=,]?\s*$")
_UNCOMPARED = ("source", "source_format", "book_id", "created_at", "updated_at", "contributors")


def marc_of(book: BookRecord) -> Record:
    """The record of a book; unchanged it is its source field by field, and without a source it is made anew."""
    if not book.source:
        return marc_fields.new_record(book)
    try:
        record, _ = decode(book.source)
        was = to_book_record(record, book.source)
    except Unreadable:
        return marc_fields.new_record(book)
    return record if is_same(was, book) else _Change(record, was, book).made()


def unchanged_source(book: BookRecord) -> bytes:
    """The bytes of the source where the book still says what they say, else b""; quicker than `marc_of`."""
    try:
        record, data = look(book.source, TAGS) if book.source else (None, b"")
        return data if record is not None and is_same(to_book_record(record, data), book) else b""
    except Unreadable:
        return b""


def is_same(one: BookRecord, other: BookRecord) -> bool:
    """Whether two records say the same; whether a contributor is a body is told by the catalogue's own headings."""
    return _who(one.contributors) == _who(other.contributors) and all(
        getattr(one, name) == getattr(other, name) for name in BookRecord.__slots__ if name not in _UNCOMPARED
    )


def _who(contributors: Iterable[ContributorRecord]) -> list[tuple[str, str, str]]:
    return [(one.name, one.dates, one.role) for one in contributors]


class _Change:
    """The writing of a book's new values into the record it came as."""

    def __init__(self, record: Record, was: BookRecord, book: BookRecord) -> None:
        self.record, self.was, self.book = record, was, book
        self.marks = Punctuation.of(record)

    def made(self) -> Record:
        """The record, changed."""
        leader = marc_fields.leader_of(self.book.material_type, str(self.record.leader))
        leader = str(self.record.leader) if self.book.material_type == self.was.material_type else leader
        self.record.leader = Leader(leader[:5] + "c" + leader[6:])
        steps: dict[tuple[str, ...], Callable[[], None]] = {
            ("control_number",): self._number,
            ("title", "subtitle"): self._title,
            ("publisher",): lambda: self._publication("b", self.book.publisher),
            ("year_text",): lambda: self._publication("c", self.book.year_text),
            ("year", "year_text", "language"): self._fixed,
            ("edition",): lambda: self._first("250", self.book.edition),
            ("pages",): lambda: self._first("300", marc_fields.extent(self.book.pages)),
            ("description",): lambda: self._first("520", clean(self.book.description)),
            ("series",): self._series,
            ("identifiers",): self._identifiers,
            ("subjects",): self._subjects,
        }
        for names, step in steps.items():
            if any(getattr(self.was, name) != getattr(self.book, name) for name in names):
                step()
        if _who(self.was.contributors) != _who(self.book.contributors):
            self._contributors()
        if self.book.updated_at:
            self._replace(self._fields("005"), [marc_fields.changed_at(self.book.updated_at)])
        self.record.fields = [field for field in self.record.fields if field.control_field or field.subfields]
        return self.record

    def _fields(self, *tags: str) -> list[Field]:
        return [field for field in self.record.fields if field.tag in tags]

    def _replace(self, olds: Sequence[Field], news: Sequence[Field]) -> None:
        """Put fields at the place of others; where there were none, before those of their tag."""
        doomed = {id(field) for field in olds}
        fields = self.record.fields
        if olds:
            place = next(at for at, field in enumerate(fields) if id(field) in doomed)
        elif news:
            place = next((at for at, field in enumerate(fields) if field.tag >= news[0].tag), len(fields))
        else:
            return
        kept = [field for field in fields[place:] if id(field) not in doomed]
        self.record.fields = [*fields[:place], *news, *kept]

    def _number(self) -> None:
        new = [field for field in marc_fields.control_numbers(self.book) if self.book.control_number]
        # Whose number it was is said of the old one.
        self._replace(self._fields("003"), [])
        self._replace(self._fields("001"), new)

    def _fixed(self) -> None:
        fields = self._fields("008")
        data = (fields[0].data or "") if fields else ""
        if not data:
            data = marc_fields.fixed_data("", self.book)
        if (self.was.year, self.was.year_text) != (self.book.year, self.book.year_text):
            data = marc_fields.with_year(data, self.book.year)
        if self.was.language != self.book.language:
            data = marc_fields.with_language(data, self.book.language)
        self._replace(fields, [Field("008", data=data)])

    def _title(self) -> None:
        """Only $a, $n, $p and $b change; the statement of responsibility and the rest of 245 stay."""
        old = self._fields("245")[0]
        has_main_entry = bool(self._fields("100", "110", "111", "130"))
        new = marc_fields.title_field(self.book, has_main_entry)
        rest = [subfield for subfield in old.subfields if subfield.code not in "anpb"]
        head = [subfield for subfield in rest if subfield.code == "6"]
        tail = [subfield for subfield in rest if subfield.code != "6"]
        parts = [
            Subfield(part.code, self._marked(part.value, mark))
            for part, mark in zip(
                new.subfields,
                [" :", " /" if tail else ""] if self.book.subtitle else [" /" if tail else ""],
                strict=True,
            )
        ]
        new.subfields = [*head, *parts, *tail]
        self._replace([old], [new])

    def _marked(self, value: str, mark: str) -> str:
        """The value with the punctuation of its place, where the record has any and it comes off again in reading."""
        keeps = not self.marks.is_bare and self.marks.strip(value + mark) == self.marks.strip(value)
        return value + mark if keeps else value

    def _first(self, tag: str, value: str) -> None:
        """Write the first $a of a tag that says something; an empty value takes them all away."""
        self._write(self._fields(tag), "a", value, marc_fields.data_field(tag, "  ", a=value))

    def _publication(self, code: str, value: str) -> None:
        """Publisher or printed date: in the statement of publication, whichever of the two fields it stands in."""
        fields = [field for field in self._fields("264") if field.indicator2 == "1"] + self._fields("260")
        if not value and code == "c":
            fields = self._fields("264", "260")
        self._write(fields, code, value, marc_fields.data_field("264", " 1", **{code: value}))

    def _write(self, fields: list[Field], code: str, value: str, new: Field) -> None:
        """Write the first such subfield that says something, else add one to the first field, else the new field."""
        said = [
            (field, at)
            for field in fields
            for at, subfield in enumerate(field.subfields)
            if subfield.code == code and subfield.value.strip()
        ]
        if not value:
            for field, at in reversed(said):
                del field.subfields[at]
        elif said:
            field, at = said[0]
            end = _END_MARK.search(field.subfields[at].value) if field.tag != "520" else None
            field.subfields[at] = Subfield(code, self._marked(value, end.group() if end else ""))
        elif fields:
            fields[0].subfields.append(Subfield(code, value))
        else:
            self._replace([], [new])

    def _series(self) -> None:
        """The statement that was read goes, and its tracings, unless they may be those of a second one."""
        found = [field for tag in SERIES for field in self._fields(tag) if marc.series_of(field, self.marks)]
        stated = [field for field in found if field.tag == "490"]
        self._replace(found[:1] if len(stated) > 1 and self.book.series else found, [])
        self._replace([], [marc_fields.series_field(self.book.series)] if self.book.series else [])

    def _identifiers(self) -> None:
        for scheme, tag in marc_fields.IDENTIFIER_TAGS.items():
            wanted = [one for one in self.book.identifiers if one.scheme == scheme]
            if wanted != [one for one in self.was.identifiers if one.scheme == scheme]:
                olds = [field for field in self._fields(tag) if marc.numbers_of(field)]
                made = [marc_fields.identifier_field(one) for one in wanted]
                kept = _by_content(olds, marc.numbers_of)
                self._replace(olds, _chosen([one.value for one in wanted], kept, made.__getitem__))

    def _subjects(self) -> None:
        olds = [field for field in self._fields(*SUBJECT_TAGS) if marc.subject_of(field, self.marks)]
        kept = _by_content(olds, lambda field: (marc.subject_of(field, self.marks),))
        subjects = self.book.subjects
        self._replace(olds, _chosen(subjects, kept, lambda at: marc_fields.subject_field(subjects[at])))

    def _contributors(self) -> None:
        """Headings that still say what is wanted stay; a main entry stays only at the head of all."""
        wanted = self.book.contributors
        olds = [field for field in self._fields(*CONTRIBUTORS) if marc.contributors_of(field, self.marks)]
        said = {id(field): tuple(_who(marc.contributors_of(field, self.marks))) for field in olds}
        others = [field for field in olds if field.tag > "199"]
        leading = [field for field in olds if field.tag < "200"][:1]
        start = 0
        mains: list[Field] = []
        if leading and said[id(leading[0])] == tuple(_who(wanted[: len(said[id(leading[0])])])):
            mains, start = leading, len(said[id(leading[0])])
        may_lead = not mains and not self._fields("130")
        rest = wanted[start:]
        kept = _by_content(others, lambda field: said[id(field)])

        def made(at: int) -> Field:
            return marc_fields.contributor_field([rest[at]], may_lead and at == 0 and rest[0].role == "author")

        new = [*mains, *_chosen(_who(rest), kept, made)]
        self._replace([field for field in olds if field.tag < "200"], [field for field in new if field.tag < "200"])
        self._replace(others, [field for field in new if field.tag > "199"])


Kept = dict[tuple[Hashable, ...], Field]


def _by_content(fields: Sequence[Field], said: Callable[[Field], Iterable[Hashable]]) -> Kept:
    """The fields by what they say; of two that say the same the first counts."""
    found: Kept = {}
    for field in fields:
        found.setdefault(tuple(said(field)), field)
    return found


def _chosen(wanted: Sequence[Hashable], kept: Kept, made: Callable[[int], Field]) -> list[Field]:
    """Fields that say what is wanted in its order: old ones where they fit, one or several values long, else new."""
    longest = max(map(len, kept), default=0)
    fields: list[Field] = []
    at = 0
    while at < len(wanted):
        lengths = range(min(longest, len(wanted) - at), 0, -1)
        found = next((length for length in lengths if tuple(wanted[at : at + length]) in kept), 0)
        fields.append(kept[tuple(wanted[at : at + found])] if found else made(at))
        at += found or 1
    return fields
