"""The page put together once, so that it is painted after a single answer: styles and the first script are inside."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

_STYLE = re.compile(r'<link rel="stylesheet" href="/web/([^"]+)">\n')
_SCRIPT = re.compile(r'<script src="/web/([^"]+)"></script>')


@dataclass(frozen=True, slots=True)
class Page:
    """The page's HTML, and the policy that says what it may load and run."""

    html: str
    policy: str


def assembled(html: str, files: Mapping[str, bytes], version: str) -> Page:
    """The page with its style sheets and plain scripts inside and its other files asked for by their version.

    Args:
        html: the page as it is written, with files as `/web/PATH`.
        files: contents by path.
        version: part of every file's address, so that browsers may keep a file for ever.
    """
    styles = "".join(files[path].decode() for path in _STYLE.findall(html))
    scripts = [files[path].decode() for path in _SCRIPT.findall(html)]
    html = _STYLE.sub("", html)
    # A function, since a text would have its backslashes read as references to groups.
    html = _SCRIPT.sub(lambda match: f"<script>{files[match[1]].decode()}</script>", html)
    html = html.replace("</head>", f"<style>{styles}</style>\n</head>", 1)
    return Page(html.replace('"/web/', f'"/web/{version}/'), _policy(styles, scripts))


def _policy(styles: str, scripts: list[str]) -> str:
    """Nothing from elsewhere, nothing inline but what is known, no HTML made from strings."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src 'self' {' '.join(_hash(script) for script in scripts)}",
            f"style-src {_hash(styles)}",
            "img-src 'self' data: blob:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
