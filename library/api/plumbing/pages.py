"""The document, and the pages that show it: all they load comes from this host, and they call no other."""

import gzip
import hashlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, current_app, redirect, render_template, request, url_for
from werkzeug import Response

from library.api.plumbing.document import Api
from library.api.plumbing.errors import Problem
from library.api.plumbing.rendering import dump_json
from library.config import VERSION

OURS = Path(__file__).parent.parent / "pages"
VENDOR = "offapi"

# What may be asked for below /docs/assets, and whose file it is: a name is only ever looked up here.
ASSETS = {
    "icon.svg": OURS.name,
    "pages.css": OURS.name,
    "redoc.js": VENDOR,
    "swagger.js": OURS.name,
    "swagger_bundle.js": VENDOR,
    "swagger_style.css": VENDOR,
}
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

# Swagger UI and Redoc write styles and small pictures into the page; Redoc's search may run in a worker.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self' data:; "
    "img-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

# Redoc would show its maker's logos, fetched from its maker.
FOREIGN_PICTURES = (b"https://cdn.redoc.ly/redoc/logo-mini-full.svg", b"https://cdn.redoc.ly/redoc/logo-mini.svg")

# Where a newcomer begins, as the index names it.
FIRST_CALLS = {"register": "sign-in.Registration", "log_in": "sign-in.LogIn", "books": "books.Books"}

SHORT = "public, max-age=60"
FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Kept:
    """A body that stays the same while the process lives: compressed once, and tagged by its content."""

    packed: bytes
    tag: str
    content_type: str

    @classmethod
    def of(cls, body: bytes, content_type: str) -> "Kept":
        """Keep a body; only the compressed form stays in memory."""
        return cls(gzip.compress(body, mtime=0), hashlib.blake2b(body, digest_size=10).hexdigest(), content_type)

    def response(self, cache_control: str) -> Response:
        """The answer to this request: compressed where the client takes that, 304 where it has it already."""
        zipped = request.accept_encodings["gzip"] > 0
        response = Response(self.packed if zipped else gzip.decompress(self.packed), content_type=self.content_type)
        if zipped:
            response.headers["Content-Encoding"] = "gzip"
        response.headers["Vary"] = "Accept-Encoding"
        response.headers["Cache-Control"] = cache_control
        # Weak: one tag for both encodings.
        response.set_etag(self.tag, weak=True)
        return response.make_conditional(request)


def vendor_folder() -> Path:
    """The folder of the package with Swagger UI and Redoc, without importing it: that would load 8 MB."""
    spec = importlib.util.find_spec(VENDOR)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"the pages need the package {VENDOR}", name=VENDOR)
    return Path(spec.submodule_search_locations[0])


@cache
def asset(name: str) -> Kept:
    """One of ASSETS, read on first use."""
    folder = vendor_folder() if ASSETS[name] == VENDOR else OURS
    body = (folder / name).read_bytes()
    for picture in FOREIGN_PICTURES if name == "redoc.js" else ():
        body = body.replace(picture, b"data:,")
    return Kept.of(body, CONTENT_TYPES[Path(name).suffix])


def asset_url(name: str) -> str:
    """Where a page finds an asset: the address changes with the content, so it may be kept forever."""
    return url_for("pages.asset", name=name, v=asset(name).tag)


def init_app(app: Flask, api: Api) -> None:
    """Serve the document, its pages and the index: plain routes, for which no limit counts."""
    document = cache(lambda: Kept.of(dump_json(api.spec.to_dict()), "application/json"))
    routes: dict[str, tuple[str, Callable[..., Response]]] = {
        "/": ("index", _index),
        "/openapi.json": ("document", lambda: document().response(SHORT)),
        "/docs": ("docs", lambda: _page("docs.html")),
        "/redoc": ("redoc", lambda: _page("redoc.html")),
        "/docs/assets/<name>": ("asset", _asset),
        "/favicon.ico": ("favicon", lambda: asset("icon.svg").response(SHORT)),
    }
    pages = Blueprint("pages", __name__, template_folder=str(OURS))
    for rule, (endpoint, view) in routes.items():
        pages.add_url_rule(rule, endpoint, view, provide_automatic_options=False)
    app.register_blueprint(pages)


def _index() -> Response:
    """A person is sent to the documentation, a machine is told where everything is."""
    if request.accept_mimetypes.best_match(("application/json", "text/html")) == "text/html":
        response = redirect(url_for("pages.docs"))
    else:
        response = Response(dump_json(_places()), content_type="application/json")
    response.headers["Vary"] = "Accept"
    return response


def _places() -> dict[str, Any]:
    return {
        "name": current_app.config["NAME"],
        "version": VERSION,
        "openapi": url_for("pages.document"),
        "docs": url_for("pages.docs"),
        "redoc": url_for("pages.redoc"),
        "library": url_for("library.Library"),
        "health": url_for("library.Ready"),
        "first_calls": {name: url_for(endpoint) for name, endpoint in FIRST_CALLS.items()},
    }


def _page(template: str) -> Response:
    name = current_app.config["NAME"]
    response = Response(render_template(template, name=name, asset=asset_url), content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = PAGE_POLICY
    response.headers["Cache-Control"] = "no-cache"
    return response


def _asset(name: str) -> Response:
    if name not in ASSETS:
        raise Problem(404)
    kept = asset(name)
    # Another version's address, as while servers are being upgraded: the answer must not be taken for that version.
    return kept.response(FOREVER if request.args.get("v") == kept.tag else "no-cache")
