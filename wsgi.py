"""The application as a WSGI server finds it: `granian --interface wsgi wsgi:app`."""

from library.serving import load

app = load()
