"""Valid calls of things that exist: what a made-up call must name so that it comes through validation to the rules."""

from collections.abc import Callable
from typing import Any, Protocol

from fuzz_facts import NAMED, NOT_WAITED_FOR, NOUNS, Facts

from library.models import Loan, PatronBlock, TokenPurpose

# Parameters of lists of which a call may name one.
ONE_OF = (("page", "cursor"), ("page_size", "per_page"))
# Things of which no two have the same name, and the members that name them.
NAMED_ONCE = ("_author", "_branch", "_item_type", "_patron_category", "_subject", "_user")
UNIQUE = {"name", "username", "email", "card_barcode"}


class Speaker(Protocol):
    """Who makes the calls."""

    name: str
    password: str

    def log_in(self) -> dict[str, Any]:
        """A new pair of tokens."""


class Call(Protocol):
    """A call that is about to be made."""

    path_parameters: dict[str, Any]
    query: dict[str, Any]
    headers: Any
    body: Any


class Reach:
    """Puts keys, barcodes, sums and names that will do into calls, looked up in the database beside the server."""

    def __init__(self, facts: Facts, speaker: Speaker) -> None:
        self.facts, self.speaker = facts, speaker
        self.recipes = recipes(facts, speaker)

    def make_valid(self, operation: str, call: Call) -> None:
        """Name what exists, by key, and what the operation can be done with."""
        self.name_what_exists(call)
        if operation.endswith(NAMED_ONCE) and isinstance(call.body, dict):
            for member in UNIQUE.intersection(call.body):
                at_home = "@example.org" if member == "email" else ""
                call.body[member] = f"{self.speaker.name}{self.facts.looks}{at_home}"
        self.recipes.get(operation.removeprefix("preview_"), _leave)(call)

    def make_deletable(self, operation: str, call: Call) -> None:
        """Name what nothing refers to."""
        if operation not in self.recipes:
            *_, last = call.path_parameters
            call.path_parameters[last] = self.facts.unused(last) or call.path_parameters[last]

    def name_what_exists(self, call: Call) -> None:
        """Name things by keys that there are, in the path, the query, the headers and the body."""
        for place in (call.path_parameters, call.query):
            for name in list(place or ()):
                if (key := self.facts.key(name)) is not None:
                    place[name] = key
        for name, other in ONE_OF:
            if name in (call.query or {}) and other in call.query:
                del call.query[other]
        if "If-Match" in (call.headers or {}):
            call.headers["If-Match"] = "*"
        if "Idempotency-Key" in (call.headers or {}):
            call.headers["Idempotency-Key"] = f"call-{self.facts.looks}"
        self._fill(call.body)

    def _fill(self, value: Any) -> None:
        if isinstance(value, list):
            for part in value:
                self._fill(part)
        if not isinstance(value, dict):
            return
        for name, inner in value.items():
            single = name.removesuffix("s")
            if type(inner) is int and (key := self.facts.key(name)) is not None:
                value[name] = key
            elif isinstance(inner, list) and name.endswith("_ids") and (single in NOUNS or single in NAMED):
                value[name] = sorted({key for _ in inner if (key := self.facts.key(single)) is not None})
            else:
                self._fill(inner)


def _leave(call: Call) -> None:
    pass


def _body(**members: Callable[[], Any]) -> Callable[[Any], None]:
    def put(call: Call) -> None:
        if isinstance(call.body, dict):
            call.body |= {name: found for name, value in members.items() if (found := value()) is not None}

    return put


def recipes(facts: Facts, speaker: Speaker) -> dict[str, Callable[[Any], None]]:
    """What single operations need, by operationId; a preview needs what its action does."""

    def loan(*conditions: Any) -> Callable[[Any], None]:
        def put(call: Call) -> None:
            call.path_parameters["loan_id"] = facts.loan(*conditions) or call.path_parameters["loan_id"]

        return put

    def hold(call: Call) -> None:
        call.path_parameters["hold_id"] = facts.hold() or call.path_parameters["hold_id"]

    def block(call: Call) -> None:
        found = facts.part(PatronBlock.id, PatronBlock.user_id)
        if found:
            call.path_parameters |= {"user_id": found[0], "block_id": found[1]}

    def queue(call: Call) -> None:
        found = facts.queue()
        if found and isinstance(call.body, dict):
            call.path_parameters["book_id"], call.body["hold_ids"] = found

    def policy(call: Call) -> None:
        found = facts.policy(call.body.get("kind", "")) if isinstance(call.body, dict) else None
        if found:
            call.path_parameters["policy_id"], *scope = found
            call.body |= dict(zip(("branch_id", "patron_category_id", "item_type_id"), scope, strict=True))

    def charge(find: Callable[[], Any], **names: int) -> Callable[[Any], None]:
        """Members of a body, from a charge: 0 is its key, 1 its patron, 2 its cents."""

        def put(call: Call) -> None:
            found = find()
            if found and isinstance(call.body, dict):
                call.body |= {name: found[place] for name, place in names.items()}

        return put

    def payment(call: Call) -> None:
        charge(facts.open_charge, patron_id=1, amount_cents=2)(call)
        if isinstance(call.body, dict):
            call.body.pop("charge_ids", None)

    def file(call: Call) -> None:
        if isinstance(call.body, dict):
            call.body |= {"file": "title,year\nMoby-Dick,1851\n", "kind": "books", "format": "csv"}

    def log_in(call: Call) -> None:
        if isinstance(call.body, dict) and speaker.password:
            call.body |= {"email" if "email" in call.body else "username": speaker.name, "password": speaker.password}

    def forgotten(call: Call) -> None:
        call.path_parameters["user_id"] = facts.unused("user_id") or call.path_parameters["user_id"]

    def import_job(call: Call) -> None:
        call.path_parameters["job_id"] = facts.waiting_import() or call.path_parameters["job_id"]

    return {
        "create_api_key": _body(password=lambda: speaker.password),
        "change_password": _body(old_password=lambda: speaker.password),
        "refresh": _body(refresh_token=lambda: speaker.log_in()["refresh_token"] if speaker.password else "none"),
        "check_out": _body(copy_barcode=facts.copy_at_home, patron_barcode=facts.card),
        "check_in": _body(copy_barcode=facts.copy_on_loan),
        "renew": loan(Loan.claimed_at.is_(None), Loan.lost_at.is_(None), NOT_WAITED_FOR),
        "change_due_date": loan(),
        "declare_lost": loan(Loan.lost_at.is_(None)),
        "claim_returned": loan(Loan.claimed_at.is_(None), Loan.lost_at.is_(None)),
        "resolve_claim": loan(Loan.claimed_at.is_not(None)),
        "cancel_hold": hold,
        "cancel_job": import_job,
        "create_import": file,
        "erase_user": forgotten,
        "log_in": log_in,
        "redeem_password_reset": _body(token=lambda: facts.mailed_token(TokenPurpose.PASSWORD_RESET)),
        "verify_email": _body(token=lambda: facts.mailed_token(TokenPurpose.EMAIL_VERIFICATION)),
        "patch_hold": hold,
        "get_block": block,
        "patch_block": block,
        "delete_block": block,
        "reorder_queue": queue,
        "replace_policy": policy,
        "pay": payment,
        "waive": charge(facts.open_charge, charge_id=0, amount_cents=2),
        "reverse": charge(facts.open_charge, entry_id=0),
        "refund": charge(facts.paid_charge, charge_id=0),
    }
