"""The best SQL known for each answer: the database itself writes the JSON, in one statement where one will do."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Dialect:
    """How a database writes JSON, names parameters, and locks; the forms have `{}` where the column stands."""

    object: str
    array: str
    forms: Mapping[str, str]
    parameter: str
    plain: str
    lock: str

    def sql(self, text: str) -> str:
        """A statement whose parameters are named `:name`."""
        return re.sub(r"(?<![:\w]):([a-z]\w*)", self.parameter, " ".join(text.split()))

    def json(self, members: Mapping[str, str]) -> str:
        """An object of SQL expressions."""
        pairs = ", ".join(f"'{name}', {value}" for name, value in members.items())
        return f"{self.object}({pairs})"

    def of(self, alias: str, names: str) -> dict[str, str]:
        """Members for columns: `id active:flag` are the id, and a column that is shown as a flag."""
        found = {}
        for word in names.split():
            name, _, form = word.partition(":")
            found[name] = self.forms.get(form, "{}").format(f"{alias}.{name}")
        return found

    def list(self, names: str, source: str) -> str:
        """An array of the rows of a source, in its order."""
        return f"(SELECT {self.array.format(self.json(self.of('x', names)))} FROM ({source}) AS x)"


SQLITE = Dialect(
    object="json_object",
    array="json_group_array({})",
    forms={
        "moment": "replace({}, ' ', 'T') || 'Z'",
        "flag": "json(iif({}, 'true', 'false'))",
        "parsed": "json({})",
    },
    parameter=r":\1",
    plain="",
    lock="",
)
POSTGRESQL = Dialect(
    object="json_build_object",
    array="coalesce(json_agg({}), '[]')",
    forms={"moment": """to_char({}, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""},
    parameter=r"%(\1)s",
    plain="::text",
    lock="FOR NO KEY UPDATE",
)

USER = """id username email first_name last_name phone address birth_date language role active:flag confirmed:flag
    card_barcode expires_on patron_category_id home_branch_id history created_at:moment"""
COPY = """id barcode book_id home_branch_id current_branch_id transit_to_branch_id item_type_id place condition
    condition_note shelf_mark price_cents not_for_loan:flag check_note last_seen_at:moment last_seen_branch_id
    created_at:moment"""
LOAN = """patron_id branch_id checked_out_at:moment due_at:moment due_on time_zone due_steps:parsed renewals
    lost_at:moment claimed_at:moment claim_note lent_condition"""
LIVE = """ FROM users u JOIN user_sessions s ON s.user_id = u.id WHERE u.id = :user AND u.active
    AND u.token_version = :version AND s.id = :session AND s.ended_at IS NULL"""


def _book(d: Dialect) -> str:
    """A book as it is shown."""
    people = """SELECT c.author_id, a.name, a.dates, c.role FROM contributions c JOIN authors a ON a.id = c.author_id
        WHERE c.book_id = b.id ORDER BY c.position"""
    topics = """SELECT l.subject_id, s.name FROM book_subjects l JOIN subjects s ON s.id = l.subject_id
        WHERE l.book_id = b.id ORDER BY l.position"""
    numbers = "SELECT i.scheme, i.value FROM identifiers i WHERE i.book_id = b.id ORDER BY i.position"
    members = d.of("b", "id material_type title subtitle")
    members["contributors"] = d.list("author_id name dates role", people)
    members |= d.of("b", "publisher year year_text edition language pages series")
    members["subjects"] = d.list("subject_id name", topics)
    members |= d.of("b", "description")
    members["identifiers"] = d.list("scheme value", numbers)
    return d.json(members | d.of("b", "control_number created_at:moment updated_at:moment"))


def _facts(d: Dialect) -> str:
    """Everything that lending depends on (desk.py), as one object."""
    scopes = {"branch_id": "b.id", "patron_category_id": "p.patron_category_id", "item_type_id": "c.item_type_id"}
    fits = " AND ".join(f"(r.{column} IS NULL OR r.{column} = {value})" for column, value in scopes.items())
    narrow = ", ".join(f"({column} IS NOT NULL)" for column in scopes)
    policies = f"SELECT r.kind, r.value FROM policies r WHERE {fits} ORDER BY {narrow}"
    pairs = d.array.format("json_array(x.kind, json(x.value))" if d is SQLITE else "json_build_array(x.kind, x.value)")
    copy = d.of("c", "id book_id place condition home_branch_id item_type_id check_note last_seen_at:moment")
    copy["stays"] = d.forms.get("flag", "{}").format("(c.not_for_loan OR coalesce(t.not_for_loan, false))")
    facts = {
        "patron": _unless_none("p", d.json(d.of("p", "id active:flag confirmed:flag expires_on"))),
        "copy": _unless_none("c", d.json(copy)),
        "branch": d.json(d.of("b", "time_zone hours:parsed")),
        "policies": f"(SELECT {pairs} FROM ({policies}) AS x)",
        "blocks": d.list("scope until_on", "SELECT k.* FROM patron_blocks k WHERE k.user_id = p.id"),
        "owed": "(SELECT coalesce(sum(e.amount_cents), 0) FROM account_entries e WHERE e.patron_id = p.id)",
        "loans": d.list(
            "copy_id book_id item_type_id late:flag",
            """SELECT l.copy_id, o.book_id, o.item_type_id, l.due_at < :now AS late FROM loans l
            JOIN copies o ON o.id = l.copy_id WHERE l.patron_id = p.id AND l.closed_at IS NULL
            AND o.condition <> 'claimed_returned'""",
        ),
        "waiting": WAITING,
        "exceptions": d.list(
            "from_on to_on is_open:flag",
            """SELECT n.* FROM calendar_exceptions n WHERE (n.branch_id IS NULL OR n.branch_id = b.id)
            AND n.to_on >= :today""",
        ),
    }
    return f"""SELECT {d.json(facts)}{d.plain} FROM branches b LEFT JOIN users p ON p.card_barcode = :card
        LEFT JOIN copies c ON c.barcode = :barcode LEFT JOIN item_types t ON t.id = c.item_type_id
        WHERE b.id = :branch"""


WAITING = "(SELECT count(*) FROM holds h WHERE h.book_id = c.book_id AND h.ended_at IS NULL)"


def _unless_none(alias: str, value: str) -> str:
    return f"CASE WHEN {alias}.id IS NOT NULL THEN {value} END"


INSERT_LOAN = """INSERT INTO loans (copy_id, patron_id, branch_id, time_zone, checked_out_at, checked_out_by_id, due_at,
    due_on, due_steps, renewals, fine_pauses, version) VALUES (:copy, :patron, :branch, :zone, :now, :actor, :due_at,
    :due_on, :steps, 0, '[]', 1) RETURNING id"""
LEND_COPY = """UPDATE copies SET place = 'on_loan', transit_to_branch_id = NULL, current_branch_id = :branch,
    last_seen_branch_id = :branch, last_seen_at = :now, version = version + 1 WHERE id = :copy"""
CLOSE_LOAN = """UPDATE loans SET closed_at = :now, closed_as = 'returned', closed_by_id = :actor,
    returned_branch_id = :branch, version = version + 1 WHERE id = :loan"""
SHELVE_COPY = """UPDATE copies SET place = 'available', current_branch_id = :branch, last_seen_branch_id = :branch,
    last_seen_at = :now, version = version + 1 WHERE id = :copy"""
INSERT_AUDIT = """INSERT INTO audit_events (at, action, outcome, status, codes, actor_id, actor_role, object_kind,
    members, request_id) VALUES (:real_now, :action, 'done', :status, '[]', :actor, :role, :kind, :members, :request)"""


class Statements:
    """Every statement of one database."""

    def __init__(self, dialect: Dialect) -> None:
        d = self.dialect = dialect
        page = "SELECT * FROM books ORDER BY id LIMIT :size OFFSET :skip"
        self.page = d.sql(f"SELECT {_book(d)}{d.plain} FROM ({page}) b ORDER BY b.id")
        self.total = d.sql("SELECT count(*) FROM books")
        self.book = d.sql(f"SELECT {_book(d)}{d.plain} FROM books b WHERE b.id = :id")
        self.me = d.sql(f"SELECT {d.json(d.of('u', USER))}{d.plain} {LIVE}")
        self.actor = d.sql(f"SELECT u.id, u.role, u.home_branch_id {LIVE}")
        self.facts = d.sql(_facts(d))
        # The patron and the queue of the book; SQLite has locked everything before.
        queue = "SELECT 1 FROM books b JOIN copies c ON c.book_id = b.id WHERE c.barcode = :barcode"
        rows = ("SELECT 1 FROM users WHERE card_barcode = :card", queue)
        self.locks = [d.sql(f"{row} {d.lock}") for row in rows] if d.lock else []
        loan = d.of("l", "id copy_id") | d.of("c", "book_id") | d.of("l", LOAN)
        found = {
            "copy": d.json(d.of("c", COPY)),
            "loan": _unless_none("l", d.json(loan)),
            "waiting": WAITING,
            "lost": "(SELECT count(*) FROM loans o WHERE o.copy_id = c.id AND o.lost_at IS NOT NULL)",
        }
        self.lent = d.sql(
            f"""SELECT {d.json(found)}{d.plain} FROM copies c LEFT JOIN loans l ON l.copy_id = c.id
            AND l.closed_at IS NULL WHERE c.barcode = :barcode"""
        )
        self.lend = self._together(INSERT_LOAN, LEND_COPY, INSERT_AUDIT)
        self.take_back = self._together(CLOSE_LOAN, SHELVE_COPY, INSERT_AUDIT)

    def _together(self, *writes: str) -> list[str]:
        """Several writes: one statement where the database can, to spare the ways there and back."""
        if self.dialect is SQLITE:
            return [self.dialect.sql(write) for write in writes]
        first, second, third = writes
        result = "SELECT id FROM first" if "RETURNING" in first else "SELECT 1"
        return [self.dialect.sql(f"WITH first AS ({first}), second AS ({second}), third AS ({third}) {result}")]

    @lru_cache(maxsize=64)  # noqa: B019 - there are two of these objects
    def search(self, count: int) -> str:
        """Books that hold so many words (`w0` …; the last may be the beginning of one), nearest first, with the total.

        The title itself stands before titles that begin so, titles that hold the words, contributors, subjects, the
        rest; whole words before beginnings.
        """
        d, find = self.dialect, "instr" if self.dialect is SQLITE else "strpos"

        def holds(column: str) -> str:
            return " AND ".join(f"{find}(' ' || {column}, ' ' || :w{at}) > 0" for at in range(count))

        text, last = " || ' ' || ".join(f":w{at}" for at in range(count)), f":w{count - 1}"
        closeness = f"""CASE WHEN b.title_key = {text} THEN 0 WHEN {find}(b.title_key, {text}) = 1 THEN 1
            WHEN {holds("b.title_key")} THEN 2
            WHEN EXISTS (SELECT 1 FROM contributions c JOIN authors a ON a.id = c.author_id WHERE c.book_id = b.id
            AND {holds("a.name_key")}) THEN 3
            WHEN EXISTS (SELECT 1 FROM book_subjects l JOIN subjects s ON s.id = l.subject_id
            WHERE l.book_id = b.id AND {holds("s.name_key")}) THEN 4 ELSE 5 END"""
        whole = f"CASE WHEN {find}(' ' || b.words || ' ', ' ' || {last} || ' ') > 0 THEN 0 ELSE 1 END"
        if d is SQLITE:
            source = "book_search s CROSS JOIN books b ON b.id = s.rowid WHERE book_search MATCH :query"
        else:
            source = "books b WHERE words_vector(b.words) @@ cast(:query AS tsquery)"
        hits = f"SELECT b.id, {closeness} AS near, {whole} AS part FROM {source}"
        nearest = "SELECT *, (SELECT count(*) FROM hits) AS total FROM hits ORDER BY near, part, id"
        return d.sql(
            f"""WITH hits AS MATERIALIZED ({hits}) SELECT {_book(d)}{d.plain}, r.total
            FROM ({nearest} LIMIT :size OFFSET :skip) r JOIN books b ON b.id = r.id ORDER BY r.near, r.part, r.id"""
        )

    def query(self, words: list[str]) -> str:
        """The words as the full-text index wants them."""
        if self.dialect is SQLITE:
            return " ".join(f'"{word}"' for word in words) + "*"
        return " & ".join(f"'{word}'" for word in words) + ":*"
