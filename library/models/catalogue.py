"""The catalogue: books, who made them, what they are about, how they are identified."""

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from library.models.base import Base, Versioned, enumerated, key_text

if TYPE_CHECKING:
    from library.models.holdings import Copy


class MaterialType(StrEnum):
    """What kind of thing a record describes (MARC leader 06/07)."""

    BOOK = "book"
    SERIAL = "serial"
    MANUSCRIPT = "manuscript"
    MAP = "map"
    SCORE = "score"
    SOUND = "sound"
    VIDEO = "video"
    IMAGE = "image"
    COMPUTER_FILE = "computer_file"
    KIT = "kit"
    OBJECT = "object"
    MIXED = "mixed"


class ContributorRole(StrEnum):
    """How a person or body took part in a book (after the MARC relators)."""

    AUTHOR = "author"
    EDITOR = "editor"
    TRANSLATOR = "translator"
    ILLUSTRATOR = "illustrator"
    COMPILER = "compiler"
    COMPOSER = "composer"
    PERFORMER = "performer"
    NARRATOR = "narrator"
    DIRECTOR = "director"
    PHOTOGRAPHER = "photographer"
    CONTRIBUTOR = "contributor"


class AuthorKind(StrEnum):
    """A person, or a body such as a society, an office or a conference."""

    PERSON = "person"
    BODY = "body"


class IdentifierScheme(StrEnum):
    """Whose numbering an identifier belongs to."""

    ISBN = "isbn"
    ISSN = "issn"
    LCCN = "lccn"
    OCLC = "oclc"
    OTHER = "other"


class Author(Versioned, Base):
    """One person or body; the dates tell namesakes apart."""

    __tablename__ = "authors"
    __table_args__ = (UniqueConstraint("name", "dates"),)

    name: Mapped[str] = mapped_column(String(500), doc="Heading, family name first: `Austen, Jane`.")
    name_key: Mapped[str] = mapped_column(key_text(500), index=True)
    dates: Mapped[str] = mapped_column(String(100), default="", doc="Dates that tell namesakes apart: `1775-1817`.")
    kind: Mapped[AuthorKind] = mapped_column(
        enumerated(AuthorKind, "kind"), default=AuthorKind.PERSON, doc="A person or a body."
    )


class Subject(Versioned, Base):
    """A heading under which books on the same matter stand."""

    __tablename__ = "subjects"

    name: Mapped[str] = mapped_column(String(500), unique=True, doc="Subject heading: `Whales -- Fiction`.")
    name_key: Mapped[str] = mapped_column(key_text(500), index=True)


class Book(Versioned, Base):
    """One bibliographic record: an edition, of which the library may own copies."""

    __tablename__ = "books"
    __table_args__ = (
        Index("ix_books_title_key", "title_key", "id"),
        Index("ix_books_year", "year", "id"),
        Index("ix_books_created_at", "created_at", "id"),
        Index("ix_books_updated_at", "updated_at", "id"),
    )

    material_type: Mapped[MaterialType] = mapped_column(
        enumerated(MaterialType, "material_type"), default=MaterialType.BOOK, doc="What kind of thing it is."
    )
    title: Mapped[str] = mapped_column(String(2000), doc="Title proper.")
    title_key: Mapped[str] = mapped_column(key_text(200))
    subtitle: Mapped[str | None] = mapped_column(String(2000), doc="Remainder of the title.")
    publisher: Mapped[str | None] = mapped_column(String(500), doc="Publisher as printed.")
    year: Mapped[int | None] = mapped_column(doc="Year of publication, where it is a number.")
    year_text: Mapped[str | None] = mapped_column(
        String(200), doc="Date of publication as printed: `c1998`, `[19--?]`."
    )
    edition: Mapped[str | None] = mapped_column(String(500), doc="Edition statement.")
    language: Mapped[str | None] = mapped_column(String(3), index=True, doc="Language, a MARC code: `eng`.")
    pages: Mapped[int | None] = mapped_column(doc="Number of pages.")
    series: Mapped[str | None] = mapped_column(String(500), doc="Series and number in it.")
    description: Mapped[str | None] = mapped_column(Text, doc="Summary or abstract.")
    control_number: Mapped[str | None] = mapped_column(
        String(100), index=True, doc="Number of the record where it came from (MARC 001)."
    )
    words: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(doc="When the record was made.")
    updated_at: Mapped[datetime] = mapped_column(doc="When the record was last changed.")

    contributions: Mapped[list["Contribution"]] = relationship(
        back_populates="book",
        order_by="Contribution.position",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )
    subject_links: Mapped[list["BookSubject"]] = relationship(
        order_by="BookSubject.position", cascade="all, delete-orphan", passive_deletes=True
    )
    identifiers: Mapped[list["Identifier"]] = relationship(
        order_by="Identifier.position", cascade="all, delete-orphan", passive_deletes=True
    )
    source: Mapped["SourceRecord | None"] = relationship(cascade="all, delete-orphan", passive_deletes=True)
    copies: Mapped[list["Copy"]] = relationship(back_populates="book", passive_deletes="all")


class Contribution(Base):
    """That an author took part in a book, in which role, and at which place of the title page."""

    __tablename__ = "contributions"
    __table_args__ = (
        UniqueConstraint("book_id", "author_id", "role"),
        Index("ix_contributions_book_id_position", "book_id", "position"),
    )

    book_id: Mapped[int] = mapped_column(ForeignKey("books.id", ondelete="CASCADE"))
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id", ondelete="RESTRICT"), index=True)
    role: Mapped[ContributorRole] = mapped_column(
        enumerated(ContributorRole, "role"), default=ContributorRole.AUTHOR, doc="How the author took part."
    )
    position: Mapped[int]

    book: Mapped["Book"] = relationship(back_populates="contributions")
    author: Mapped["Author"] = relationship()


class BookSubject(Base):
    """That a book is about a subject."""

    __tablename__ = "book_subjects"
    __table_args__ = (
        UniqueConstraint("book_id", "subject_id"),
        Index("ix_book_subjects_book_id_position", "book_id", "position"),
    )

    book_id: Mapped[int] = mapped_column(ForeignKey("books.id", ondelete="CASCADE"))
    subject_id: Mapped[int] = mapped_column(ForeignKey("subjects.id", ondelete="RESTRICT"), index=True)
    position: Mapped[int]

    subject: Mapped["Subject"] = relationship()


class Identifier(Base):
    """A number by which the world knows an edition; an ISBN is not unique, and a book may have several."""

    __tablename__ = "identifiers"
    __table_args__ = (
        UniqueConstraint("book_id", "scheme", "value"),
        Index("ix_identifiers_scheme_value", "scheme", "value"),
        Index("ix_identifiers_book_id_position", "book_id", "position"),
    )

    book_id: Mapped[int] = mapped_column(ForeignKey("books.id", ondelete="CASCADE"))
    scheme: Mapped[IdentifierScheme] = mapped_column(enumerated(IdentifierScheme, "scheme"), doc="Whose numbering.")
    value: Mapped[str] = mapped_column(String(100), doc="The number, without hyphens and spaces.")
    position: Mapped[int]


class SourceRecord(Base):
    """The record a book came from, as it came, so that an export gives back what the model does not hold."""

    __tablename__ = "source_records"

    book_id: Mapped[int] = mapped_column(ForeignKey("books.id", ondelete="CASCADE"), unique=True)
    format: Mapped[str] = mapped_column(String(30))
    content: Mapped[bytes] = mapped_column(LargeBinary)


class Generation(Base):
    """How often a family of tables has changed: kept bytes carry the number they were made under."""

    __tablename__ = "generations"

    name: Mapped[str] = mapped_column(String(30), unique=True)
    number: Mapped[int] = mapped_column(default=0)
