"""What every error has in common."""

from werkzeug.test import TestResponse

FORM = {"type", "title", "status", "code", "detail", "request_id", "errors"}


def check(answer: TestResponse, status: int, code: str) -> None:
    """Hold an answer against the one form of errors."""
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/problem+json"
    assert answer.json.keys() == FORM
    assert (answer.json["status"], answer.json["code"]) == (status, code)
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]
    assert answer.headers["Cache-Control"] == "no-store"
