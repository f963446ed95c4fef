"""GET / and /web/...: the page and its files, from this folder, with no asset from anywhere else."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from importlib.resources import files

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.api.web.assets import Asset, contents_of
from gateway.api.web.page import assembled

INDEX = "index.html"
ALWAYS_ASKED = "no-cache"
KEPT_FOR_EVER = "public, max-age=31536000, immutable"


def router() -> APIRouter:
    """Routes of the page and of each file that it loads. The files are read once."""
    contents = contents_of(files(__package__))
    version = hashlib.sha256(b"".join(contents.values())).hexdigest()[:12]
    page = assembled(contents.pop(INDEX).decode(), contents, version)
    web = APIRouter(include_in_schema=False, default_response_class=Response)
    index = Asset.of(INDEX, page.html.encode())
    web.add_api_route("/", _endpoint(index, ALWAYS_ASKED, page.policy), methods=["GET", "HEAD"])
    for path, content in contents.items():
        endpoint = _endpoint(Asset.of(path, content), KEPT_FOR_EVER, "default-src 'none'")
        web.add_api_route(f"/web/{version}/{path}", endpoint, methods=["GET", "HEAD"])
    return web


def _endpoint(asset: Asset, caching: str, policy: str) -> Callable[[Request], Awaitable[Response]]:
    headers = {"Cache-Control": caching, "Content-Security-Policy": policy}

    async def endpoint(request: Request) -> Response:
        return asset.response(request.headers, headers)

    return endpoint
