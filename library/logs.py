"""What a log is told of an error: of which kind it is and where it happened, and nothing of what it says.

The text of an exception may quote what somebody has sent: `invalid literal for int(): 'Jane Doe'`, or PostgreSQL's
`Key (email)=(jane@example.org) already exists`.
"""

import logging
import traceback
from collections.abc import Iterator


def told(error: BaseException) -> str:
    """The traceback of an error and of those that led to it, the first one first, without their texts."""
    return "\n".join(part for link in reversed([*_chain(error)]) for part in _parts(link))


class Discreet(logging.Filter):
    """Lets a record pass with its exception told like this, whoever logs it."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            record.msg, record.args = f"{record.getMessage()}\n{told(error)}", ()
            record.exc_info = record.exc_text = None
        return True


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _parts(error: BaseException) -> Iterator[str]:
    yield "".join(traceback.format_tb(error.__traceback__)).rstrip() or "  (nowhere)"
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    # What the driver says in a code, and the statement: its values are bound, and stand beside it.
    codes = (getattr(error, name, None) for name in ("sqlstate", "sqlite_errorname"))
    statement = getattr(error, "statement", None)
    said = [str(part) for part in (*codes, statement) if isinstance(part, str)]
    yield f"{kind} ({'; '.join(said)})" if said else kind
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield told(inner)
