"""The application as a WSGI server finds it: `granian --interface wsgi wsgi:app`."""

import sys

from library import create_app
from library.config import ConfigurationError

try:
    app = create_app()
except ConfigurationError as error:
    sys.exit(f"library: {error}")
