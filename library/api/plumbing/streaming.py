"""Streams: answers of any length, made while they are sent, which say so themselves where they break off."""

import logging
from collections.abc import Iterator

from library.logs import told

log = logging.getLogger("library")
INCOMPLETE = b"\n!!! THIS EXPORT IS INCOMPLETE !!!\n"


def begun(stream: Iterator[bytes]) -> Iterator[bytes]:
    """The same stream, its first block made already: what goes wrong at once is an answer, not a stream cut short."""
    first = next(stream, b"")

    def rest() -> Iterator[bytes]:
        yield first
        try:
            yield from stream
        except Exception as error:
            # The server ends a response well whatever happens here: the document itself must say that it is not whole.
            log.error("an export broke off\n%s", told(error))
            yield INCOMPLETE

    return rest()
