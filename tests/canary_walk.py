"""A walk through every operation that takes words, with canaries for words, against a real server."""

import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from canaries import as_words, canary, canary_day
from served import Answer, Served

KEY = re.compile(r"\{(\w+)\}")
# Members that hold no words of people's, by operation and place, and why.
WORDLESS = {
    r"(create|replace|patch)_(book|author|subject|branch|item_type|copy):.*": "about a thing",
    r"(create|replace|patch)_(patron_category|policy|calendar_exception):.*": "a rule of the house",
    r"mark_copy:.*": "about a thing",
    r"(list_books|export_books|get_book_facets):\?(isbn|control_number|language)": "about a thing",
    r"(list_copies:\?barcode|\w+:/copy_barcode)": "about a thing",
    r"list_audit_events:.*": "names of operations, tables and requests",
    r"\w+:/(confirm_token|token|refresh_token)": "made by the library itself",
    r"\w+:/overrides/\*/code": "one of the codes of the refusals",
    r"preview_\w+:.*": "tried before each action of the walk, with its body",
}


def texts_of(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(operationId, place) of every member and parameter that takes any words, by the document."""
    for methods in document["paths"].values():
        for operation in (found for found in methods.values() if "operationId" in found):
            name = operation["operationId"]
            content = operation.get("requestBody", {}).get("content", {})
            for described in list(content.values())[:1]:
                yield from ((name, place) for place in _texts(document, described["schema"]))
            for parameter in operation.get("parameters", []):
                if parameter.get("in") == "query" and parameter["name"] not in ("cursor", "sort", "expand"):
                    yield from ((name, f"?{parameter['name']}") for _ in _texts(document, parameter["schema"]))


def _texts(document: dict[str, Any], schema: dict[str, Any], place: str = "") -> Iterator[str]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    kinds = schema.get("type", [])
    is_text = "string" in ([kinds] if isinstance(kinds, str) else kinds)
    if is_text and "enum" not in schema and schema.get("format") not in ("date", "date-time"):
        yield place
    for name, member in schema.get("properties", {}).items():
        yield from _texts(document, member, f"{place}/{name}")
    if "items" in schema:
        yield from _texts(document, schema["items"], f"{place}/*")


def is_wordless(operation: str, place: str) -> bool:
    """Whether nobody writes of people there."""
    return any(re.fullmatch(pattern, f"{operation}:{place}") for pattern in WORDLESS)


class Walker:
    """Calls operations by their names, and notes which of their members had a canary in them when they were done."""

    def __init__(self, served: Served, admin: str) -> None:
        self.served, self.admin = served, admin
        self.document = served.call("GET", "/openapi.json").json
        self.operations = {
            operation["operationId"]: (path, method.upper())
            for path, methods in self.document["paths"].items()
            for method, operation in methods.items()
            if "operationId" in operation
        }
        self.words: set[str] = set()
        self.done: set[tuple[str, str]] = set()
        self.printed: list[str] = []

    def word(self) -> str:
        """A canary that will be looked for."""
        found = canary()
        self.words.add(found)
        return found

    def given(self, *names: str) -> dict[str, str]:
        """Members that are words, each with a canary of its own; in the form that each of them must have."""
        forms = {"email": "{}@example.org", "address": "{}\nElsewhere"}
        return {name: forms.get(name, "{}").format(self.word()) for name in names}

    def tag(self) -> str:
        """A tag of a language that nobody speaks."""
        found = f"de-kan{canary()[6:10]}x"
        self.words.add(found)
        return found

    def day(self) -> str:
        """A day that is no other row's."""
        found = canary_day().isoformat()
        self.words.add(found)
        return found

    def call(self, operation: str, token: str = "", body: Any = None, **sent: Any) -> Answer:
        """One call that must succeed, tried before where it can be tried; parts of the path go by their names.

        `query`, `headers` and `status` (of the success) beside them.
        """
        path, method = self.operations[operation]
        query, status = sent.pop("query", {}), sent.pop("status", None)
        headers = {"User-Agent": self.word(), **sent.pop("headers", {})}
        if method in ("PUT", "PATCH", "DELETE"):
            headers["If-Match"] = "*"
        target = KEY.sub(lambda found: str(sent[found[1]]), path)
        target += "?" + "&".join(f"{name}={value}" for name, value in query.items()) if query else ""
        if f"preview_{operation}" in self.operations:
            tried = self.served.call("POST", f"{target}/preview", body, token, headers)
            assert (tried.status, tried.json["ok"]) == (200, True), (operation, tried.data)
        if method == "POST" and token and "Idempotency-Key" in str(self.operation(operation)):
            # What the admin calls a call stays theirs.
            headers["Idempotency-Key"] = canary() if token == self.admin else self.word()
        answer = self.served.call(method, target, body, token, headers)
        assert answer.status == status if status else 200 <= answer.status < 300, (operation, answer.data)
        self.done |= {(operation, place) for place in _places(body)}
        self.done |= {(operation, f"?{name}") for name, value in query.items() if as_words(value)}
        return answer

    def operation(self, name: str) -> Mapping[str, Any]:
        """What the document says of an operation."""
        path, method = self.operations[name]
        return self.document["paths"][path][method.lower()]

    def flask(self, *arguments: str) -> None:
        """Run a command; what it prints is looked through like a log."""
        self.printed.append(self.served.flask(*arguments))

    def missed(self) -> list[str]:
        """Operations and places that take words of people's, and were given none."""
        texts = {(name, place) for name, place in texts_of(self.document) if not is_wordless(name, place)}
        return sorted(f"{name} {place}" for name, place in texts - self.done)


def _places(body: Any, place: str = "") -> Iterator[str]:
    if isinstance(body, dict):
        for name, value in body.items():
            yield from _places(value, f"{place}/{name}")
    elif isinstance(body, list):
        for value in body:
            yield from _places(value, f"{place}/*")
    elif isinstance(body, str) and re.search(r"kan(ari)?\d{4}", body):
        yield place


class Cast:
    """The people of the walk: who registers, who works at the desk, and who stands in a list."""

    def __init__(self, walker: Walker, mails: Path) -> None:
        self.walker, self.admin, self.mails = walker, walker.admin, mails
        self.call = walker.call
        self.branch = self.call("create_branch", self.admin, {"name": "Main", "time_zone": "Europe/Berlin"}).json["id"]
        book = self.call("create_book", self.admin, {"title": "A book"}).json["id"]
        home = {"book_id": book, "home_branch_id": self.branch}
        self.book, self.copy = book, self.call("create_copy", self.admin, home).json["barcode"]

    def log_in(self, who: dict[str, Any], name: str = "username") -> str:
        """The access token of somebody."""
        body = {name: who[name], "password": who["password"]}
        return self.call("log_in", body=body).json["access_token"]

    def live(self) -> None:
        """Everybody does everything that can be done with words."""
        self.librarian_comes()
        self.reader_comes()
        self.reader_is_changed()
        self.desk_lends()
        self.desk_takes_money()
        self.list_is_taken_in()
        self.everybody_looks()

    def librarian_comes(self) -> None:
        names = ("username", "email", "password", "first_name", "last_name", "phone", "address", "card_barcode")
        self.worker = self.walker.given(*names) | {"language": self.walker.tag()}
        body = self.worker | {"role": "librarian", "home_branch_id": self.branch}
        self.worker_id = self.call("create_user", self.admin, body).json["id"]
        self.desk = self.log_in(self.worker)
        order = self.call("create_order", self.desk, self.walker.given("note") | {"lines": []}).json["id"]
        self.call("patch_order", self.desk, self.walker.given("note"), order_id=order)
        self.call("delete_order", self.desk, order_id=order)

    def reader_comes(self) -> None:
        self.reader = self.walker.given("username", "email", "password", "first_name", "last_name")
        self.reader_id = self.call("register", body=self.reader).json["id"]
        self.call("log_in", body=self.walker.given("username", "password"), status=401)
        self.log_in(self.reader, "email")
        token = self.log_in(self.reader)
        mine = self.walker.given("first_name", "last_name", "phone", "address") | {"language": self.walker.tag()}
        self.call("patch_me", token, mine)
        new = self.walker.word()
        self.call("change_password", token, {"old_password": self.reader["password"], "new_password": new})
        self.call("request_password_reset", body={"email": self.reader["email"]})
        self.call("request_password_reset", body=self.walker.given("email"))
        self.walker.flask("mail", "send")
        self.reader |= self.walker.given("password")
        body = {"token": self.token_of_mail(), "password": self.reader["password"]}
        self.call("redeem_password_reset", body=body)
        token = self.log_in(self.reader)
        body = {"scopes": ["loans.read"], "password": self.reader["password"]} | self.walker.given("name")
        key = self.call("create_api_key", token, body).json["key"]
        self.call("list_loans", key)

    def token_of_mail(self) -> str:
        """The token in the last mail; what was sent has left the house, and is not looked through."""
        letters = sorted(self.mails.glob("*.eml"), key=lambda path: path.stat().st_mtime)
        found = [re.findall(r"^[A-Za-z0-9_-]{43}\r?$", path.read_text(), re.MULTILINE) for path in letters]
        return next(tokens[0].strip() for tokens in reversed(found) if tokens)

    def reader_is_changed(self) -> None:
        names = ("username", "email", "password", "first_name", "last_name", "phone", "address", "card_barcode")
        for operation in ("patch_user", "replace_user"):
            self.reader = self.walker.given(*names) | {"language": self.walker.tag()}
            days = {"birth_date": self.walker.day(), "expires_on": self.walker.day()}
            self.call(operation, self.admin, self.reader | days, user_id=self.reader_id)
        self.token = self.log_in(self.reader)
        block = self.call("create_block", self.desk, self.walker.given("reason"), user_id=self.reader_id).json["id"]
        body = self.walker.given("reason") | {"until_on": self.walker.day()}
        self.call("patch_block", self.desk, body, user_id=self.reader_id, block_id=block)

    def let_pass(self) -> dict[str, Any]:
        """An override of the block, with a reason."""
        return {"overrides": [{"code": "patron_blocked", **self.walker.given("reason")}]}

    def desk_lends(self) -> None:
        card = {"copy_barcode": self.copy, "patron_barcode": self.reader["card_barcode"]}
        self.walker.done.add(("check_out", "/patron_barcode"))
        loan = self.call("check_out", self.desk, card | self.let_pass()).json["id"]
        later = {"due_at": "2035-01-31T22:59:59Z"} | self.walker.given("reason")
        due_on = self.call("change_due_date", self.desk, later, loan_id=loan).json["due_on"]
        closed = {"from_on": due_on, "to_on": due_on}
        self.call("create_calendar_exception", self.admin, closed)
        moved = self.call(
            "move_due_dates", self.desk, closed | {"branch_id": self.branch} | self.walker.given("reason")
        )
        assert moved.json["results"]
        sooner = {"due_at": f"{time.strftime('%Y-%m-%d')}T23:59:59.5Z"} | self.walker.given("reason")
        self.call("change_due_date", self.desk, sooner, loan_id=loan)
        self.call("renew", self.desk, self.let_pass(), loan_id=loan)
        self.call("claim_returned", self.token, self.walker.given("note"), loan_id=loan)
        self.call("check_in", self.desk, {"copy_barcode": self.copy})
        wish = {"patron_id": self.reader_id, "book_id": self.book, "pickup_branch_id": self.branch}
        hold = self.call("place_hold", self.desk, wish | self.let_pass()).json["id"]
        self.call("cancel_hold", self.token, self.walker.given("reason"), hold_id=hold)

    def desk_takes_money(self) -> None:
        owed = {"patron_id": self.reader_id, "amount_cents": 1000}
        first = self.call("create_charge", self.desk, owed | self.walker.given("note")).json["id"]
        paid = owed | {"amount_cents": 400, "method": "cash"} | self.walker.given("note")
        self.call("pay", self.desk, paid)
        back = {"charge_id": first, "amount_cents": 100}
        self.call("refund", self.desk, back | {"method": "cash"} | self.walker.given("note"))
        second = self.call("create_charge", self.desk, owed | self.walker.given("note")).json["id"]
        self.call("reverse", self.desk, {"entry_id": second} | self.walker.given("reason"))
        self.call("waive", self.desk, {"charge_id": first} | self.walker.given("reason"))
        account = self.call("get_account", self.desk, user_id=self.reader_id).json
        assert (account["balance_cents"], account["credit_cents"]) == (0, 0)

    def list_is_taken_in(self) -> None:
        names = ("card_barcode", "username", "email", "first_name", "last_name", "phone", "address")
        line = self.walker.given(*names)
        line["address"] = line["address"].partition("\n")[0]
        wrong = [line["card_barcode"], *(self.walker.word() for _ in range(5))]
        rows = [",".join(line), ",".join(line.values())]
        others = ["card_barcode,first_name,last_name,phone,branch,category", ",".join(wrong)]
        for table in (rows, others):
            self.send_file("\n".join(table) + "\n")
            self.walker.flask("jobs", "run", "--once")
        self.listed_id = self.call("list_users", self.desk, query={"q": line["last_name"]}).json[0]["id"]
        self.walker.done.add(("create_import", "/file"))

    def send_file(self, content: str) -> None:
        """A roster, as a form sends it."""
        parts = {"kind": "patrons", "on_duplicate": "skip"}
        body = "".join(
            f'--end\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in parts.items()
        )
        body += '--end\r\nContent-Disposition: form-data; name="file"; filename="people.csv"\r\n\r\n'
        body += f"{content}\r\n--end--\r\n"
        head = f"POST /imports HTTP/1.1\r\nHost: library\r\nAuthorization: Bearer {self.admin}\r\nConnection: close\r\n"
        head += f"Content-Type: multipart/form-data; boundary=end\r\nContent-Length: {len(body)}\r\n\r\n"
        answer = self.walker.served.raw((head + body).encode())
        assert answer.startswith(b"HTTP/1.1 202"), answer

    def everybody_looks(self) -> None:
        self.call("list_users", self.desk, query={"q": self.reader["last_name"]})
        card = {"card_barcode": self.reader["card_barcode"]}
        self.call("list_users", self.desk, query=card)
        self.call("get_summary_by_card", self.desk, query=card)
        for operation in ("list_books", "export_books", "get_book_facets", "list_authors", "list_subjects"):
            self.call(operation, self.desk, query={"q": self.walker.word()})
        for operation in ("get_me", "get_my_summary", "list_sessions", "list_notices", "list_account_entries"):
            self.call(operation, self.token)
        for user_id in (self.reader_id, self.worker_id, self.listed_id):
            told = self.call("export_user", self.admin, user_id=user_id)
            assert as_words(told.data.decode())
        # What is asked amiss must not stand in a log either.
        word = self.walker.word()
        for path in (f"/{word}", f"/users/{word}", f"/users?{word}={word}", f"/books?cursor={word}"):
            answer = self.walker.served.call("GET", path, token=self.desk, headers={"X-Word": word})
            assert answer.status in (404, 422), path
        self.walker.served.call("POST", "/holds", {word: word}, self.desk)
        self.walker.flask("circulation", "nightly")

    def are_forgotten(self) -> None:
        """One by themselves, two by the admin."""
        self.call("erase_user", self.token, {"password": self.reader["password"]}, user_id=self.reader_id)
        self.walker.done.add(("erase_user", "/password"))
        for user_id in (self.worker_id, self.listed_id):
            self.call("erase_user", self.admin, {}, user_id=user_id)
