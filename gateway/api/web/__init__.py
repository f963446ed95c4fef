"""GET / and /web/...: the page, its modules and styles, from this folder, with no asset from anywhere else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.api.web.assets import Asset, assets_in

PAGE = "index.html"
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
"""What the page may load and run: its own files. Nothing inline, nothing from elsewhere, no HTML from strings."""


def router() -> APIRouter:
    """Routes of the page and of each file that it loads. The files are read once."""
    assets = assets_in(files(__package__))
    web = APIRouter(include_in_schema=False, default_response_class=Response)
    web.add_api_route("/", _endpoint(assets.pop(PAGE)), methods=["GET", "HEAD"])
    for path, asset in assets.items():
        web.add_api_route(f"/web/{path}", _endpoint(asset), methods=["GET", "HEAD"])
    return web


def _endpoint(asset: Asset) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return asset.response(request.headers, {"Content-Security-Policy": POLICY})

    return endpoint
