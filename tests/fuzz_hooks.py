"""What schemathesis runs beside its calls (SCHEMATHESIS_HOOKS): who speaks, what exists, which refusals are right.

The generator knows the document, not the library: the document's examples and three in four of other valid calls are
made with keys, barcodes and sums that exist, so that they come through validation to the rules. Calls that are meant to
be wrong are left as they are.
"""

import json
import os
import re
import urllib.request
from pathlib import Path
from typing import Any

import schemathesis
from fuzz_draw import Draw
from fuzz_facts import Facts
from fuzz_reach import Reach
from schemathesis.openapi.checks import RejectedPositiveData

RUN = json.loads(Path(os.environ["LIBRARY_FUZZ"]).read_text(encoding="utf-8"))
# Reasons of 422 that no schema can tell, by code and place: what a call names does not exist …
FACTS = (
    r"\w+_not_found:.*|wrong_password:/(old_)?password|invalid_token:/token|unknown_value:/overrides/\d+/code|bad_form:/time_zone"
    r"|cursor_not_valid:cursor"
)
# … or two members do not fit one another: an order of moments, the value to its kind, two names of one thing …
FITTING = (
    r"out_of_range:(/hours/\d+)?/closes|out_of_range:(/to_on|to_on)|conflict:.*|duplicate_value:.*|duplicate_parameter:.*"
    r"|page_too_deep:page|unknown_value:(sort|expand)|required:/(opens|closes)|bad_form:/identifiers/\d+/value"
    r"|bad_form:/value|unsupported_value:/(format|on_duplicate)"
)
# … or the bytes of a file are not those of a file of its kind …
FILES = r"unknown_format:/file"
# … or staff must say for whom, where a patron means themselves.
WHOM = r"required:(/patron_id|patron_id)"
# … or the key of another call was sent again, which stands in no reason but in the code of the problem itself.
AGAIN = "idempotency_key_reused"
BEYOND_SCHEMAS = re.compile("|".join((FACTS, FITTING, FILES, WHOM)))


class Actor:
    """Who the run speaks for; logs in again whenever a call has ended the session."""

    def __init__(self) -> None:
        self.name, self.password = RUN["username"], RUN["password"]
        self.access_token, self.id = "", None
        if self.password:
            self.id = self.log_in()["user"]["id"]

    def log_in(self) -> dict[str, Any]:
        """A new pair of tokens."""
        body = json.dumps({"username": self.name, "password": self.password}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{RUN['url']}/users/login", body, headers, method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def token(self) -> str:
        """An access token that is good."""
        self.access_token = self.access_token or self.log_in()["access_token"]
        return self.access_token


actor = Actor()
facts = Facts(RUN["database_url"], actor.id, RUN["username"] in ("librarian", "admin"))
reach = Reach(facts, actor)
draw = Draw(f"{RUN['seed']} {RUN['username']}", RUN["share"])

if actor.password:

    @schemathesis.auth(refresh_interval=None)
    class Bearer:
        """The actor's token on every call that the document says needs one."""

        def get(self, case: Any, context: Any) -> str:
            """The token."""
            return actor.token()

        def set(self, case: Any, data: str, context: Any) -> None:
            """Into the header."""
            case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """Take the answer for "any other status" out: with it every status would conform."""
    for operations in raw_schema["paths"].values():
        for operation in operations.values():
            if isinstance(operation, dict):
                operation.get("responses", {}).pop("default", None)


@schemathesis.hook
def before_add_examples(context: Any, examples: list[Any]) -> None:
    """Keep as many examples of an operation as the run may try."""
    if RUN["examples"] is not None:
        draw.keep(context.operation, examples, RUN["examples"])


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Leave out what is not drawn."""
    bounds = case.meta is not None and case.meta.phase.name.value == "coverage"
    return not bounds or draw.takes(case)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Make valid calls of things that exist, and keep the actor from changing the account it speaks for."""
    operation = case.operation.definition.raw.get("operationId", "")
    facts.looks += 1
    if case.meta is not None and case.meta.generation.mode.is_positive:
        if case.meta.phase.name.value == "examples" or facts.looks % 4:
            reach.make_valid(operation, case)
        if case.method == "DELETE":
            reach.make_deletable(operation, case)
    own = actor.id is not None and (case.path_parameters or {}).get("user_id") in (actor.id, str(actor.id))
    if own and case.method != "GET":
        case.path_parameters["user_id"] = facts.key("user_id") or case.path_parameters["user_id"]


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Note the answer, and whether the actor must log in again."""
    # With another method than its own the call is of no operation, whatever becomes of it: OPTIONS is answered 204.
    own = case.method.upper() == case.operation.method.upper()
    operation = case.operation.definition.raw.get("operationId", "") if own else ""
    phase = case.meta.phase.name.value if case.meta is not None else "probe"
    answer = {"operation": operation, "method": case.method, "status": response.status_code, "phase": phase}
    answer["replayed"] = "idempotency-replayed" in {name.lower() for name in response.headers}
    with Path(RUN["answers"]).open("a", encoding="utf-8") as answers:
        answers.write(json.dumps(answer) + "\n")
    if response.status_code == 204 and operation in ("log_out", "end_session"):
        actor.access_token = ""
    if response.status_code == 204 and operation == "change_password" and not answer["replayed"]:
        actor.password = case.body["new_password"]


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Let a valid call be answered with 422 where no schema could have told: every reason must be such a one."""
    if not isinstance(failure, RejectedPositiveData) or response.status_code != 422:
        return True
    problem = json.loads(response.content)
    if problem["code"] == AGAIN:
        return False
    reasons = problem["errors"]
    return not reasons or not all(BEYOND_SCHEMAS.fullmatch(_told(reason)) for reason in reasons)


def _told(reason: dict[str, Any]) -> str:
    return f"{reason['code']}:{reason.get('pointer') or reason.get('parameter') or reason.get('header') or ''}"
