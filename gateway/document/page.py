"""The page: how the API is used, every path, every tool, every type."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.app import create_app
from gateway.document.examples import BATCH, OF_OPERATIONS, OVERLAY, START, URL, of_tool
from gateway.document.schemas import Schema, fields_table, parameters_table, reference, references_in, type_of
from gateway.error_handlers import HTTP_ERRORS
from gateway.errors import INTERNAL, TOO_LONG, GatewayError, to_http
from gateway.parts import GatewayParts
from gateway.settings import GatewaySettings
from planner.api import PlannerUnavailable
from services.core.errors import SkillError
from services.core.registry import discover
from services.core.spec import SkillSpec

WIDTH = 120
TAGS = ("chat", "tools", "jobs", "images", "sessions", "models", "health")
_TOOL = "/v1/tools/"
_GENERATED = "<!-- Made from the OpenAPI document and the SkillSpecs by `make docs-api`; a test runs its examples. -->"
_INTRO = f"""
The gateway answers at `{URL}` unless it is put elsewhere; `/openapi.json` is the machine-readable form of
this page. Every skill that is installed is described here; `GET /v1/tools` says which of them a deployment offers.

**Pictures** are named by handles (`img_...`). Wherever one is wanted, a `data:` URL (base64) or an https URL will do
too; it is stored first, and the answer has its handle. URLs are fetched by a guarded fetch: public addresses only,
every redirect checked, with limits of bytes, pixels and time. `LLAVA_PLUS_FETCH_ALLOWED` names private hosts and
networks that are fetched from as well, `LLAVA_PLUS_FETCH_ENABLED=false` turns it off.

**Coordinates** are normalised to 0..1 of width and height, origin top left; boxes are `[x0, y0, x1, y1]`. **Masks** are
COCO run-length codes or pictures that are white inside.

**Requests** may carry `X-Request-ID`, which is in the answer, in errors and in all log lines; `Cache-Control: no-cache`
asks for results that were not computed before. `Idempotency-Key` makes a chat or job that is sent again the same one.

**Errors** have OpenAI's format, `{{"error": {{"message", "type", "param", "code", "request_id"}}}}`; `Retry-After` says
when trying again makes sense.
"""


def current_page() -> str:
    """docs/api.md as it should be for the installed skills."""
    specs = discover().specs()
    return page(create_app(make_parts=_never, specs=specs).openapi(), specs)


def page(document: Mapping[str, Any], specs: Sequence[SkillSpec]) -> str:
    """The Markdown of an OpenAPI document.

    Args:
        specs: the skills that have routes in it.
    """
    lines = ["# HTTP API", "", _GENERATED, *_INTRO.splitlines(), *_errors(), *_start()]
    components: Mapping[str, Schema] = document["components"]["schemas"]
    for tag in TAGS:
        lines += [f"## {tag.capitalize()}", ""]
        for path, method, operation in _operations(document, tag):
            lines += _operation(path, method, operation, components)
        if tag == "tools":
            lines += _tools(specs, components)
    lines += ["## Types", ""]
    for name in _types(document, specs):
        lines += _type(name, components[name])
    return "\n".join(lines).rstrip() + "\n"


async def _never(_: GatewaySettings) -> GatewayParts:
    raise AssertionError("the page is made without a running gateway")


def _errors() -> list[str]:
    known = [error for base in (GatewayError, SkillError) for error in _below(base)]
    found = {(to_http(_instance(error)).status, to_http(_instance(error)).code): error for error in known}
    said = {key: " ".join((error.__doc__ or "").split()) for key, error in found.items()}
    said |= {(error.status, error.code): error.message for error in (TOO_LONG, INTERNAL)}
    said |= {(status, code): message for status, (code, message) in HTTP_ERRORS.items()}
    planner = to_http(PlannerUnavailable("The planner cannot answer now."))
    said[planner.status, planner.code] = planner.message
    rows = [f"| {status} | `{code}` | {text} |" for (status, code), text in sorted(said.items())]
    return ["", "| status | code | |", "|---|---|---|", *rows, ""]


def _below(base: type[Exception]) -> Iterator[type[Exception]]:
    """The errors that have a code of their own."""
    for error in base.__subclasses__():
        if "code" in vars(error) or "kind" in vars(error):
            yield error
        yield from _below(error)


def _instance(error: type[Exception]) -> Exception:
    """One without its message, for its status and code."""
    made = error.__new__(error)
    Exception.__init__(made)
    made.__dict__ |= {"message": "", "details": {}, "param": None, "headers": {}}
    return made


def _start() -> list[str]:
    return ["The examples below go on from this one:", "", *_code(START)]


def _operations(document: Mapping[str, Any], tag: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """The operations of a tag; what deletes comes last, so that the examples before it have something to work on."""
    found = [
        (path, method.upper(), operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if tag in operation.get("tags", ()) and not path.startswith(_TOOL)
    ]
    yield from sorted(found, key=lambda one: one[1] == "DELETE")


def _operation(path: str, method: str, operation: Mapping[str, Any], components: Mapping[str, Schema]) -> list[str]:
    lines = [f"### {method} {path}", "", *_prose(operation.get("description", operation["summary"]))]
    lines += parameters_table(operation.get("parameters", ()))
    body = operation.get("requestBody")
    if body is not None:
        ((media_type, content),) = body["content"].items()
        schema = _resolved(content["schema"], components)
        lines += [f"Body, `{media_type}`:", "", *fields_table(schema)]
    lines += _answers(operation["responses"], components)
    return lines + _code(OF_OPERATIONS[f"{method} {path}"])


def _answers(responses: Mapping[str, Any], components: Mapping[str, Schema]) -> list[str]:
    lines: list[str] = []
    for status, response in responses.items():
        if not status.startswith("2"):
            continue
        for media_type, content in response.get("content", {}).items():
            schema = content.get("schema", {})
            name = reference(schema)
            what = f": {type_of(schema)}" if name or schema.get("title") else ""
            lines += [f"Answer, {status}, `{media_type}`{what}", ""]
    return lines


def _tools(specs: Sequence[SkillSpec], components: Mapping[str, Schema]) -> list[str]:
    lines = [
        "### POST /v1/tools/{name}",
        "",
        *_prose(
            "Call one tool, without the planner. The body has a field for each kind of picture that the tool works "
            "on, and `arguments`. With `?render=overlay` the answer has a picture with the boxes, masks or map of "
            "the result, `render`; with `Accept: image/png` besides, it is that picture."
        ),
        *fields_table(_resolved({"$ref": f"#/{_response_of(specs[0], components)}"}, components), skip=("result",)),
        *_code(OVERLAY),
        "### POST /v1/tools/{name}/batch",
        "",
        *_prose(
            "Several inputs in one request, as `inputs`. They run at the same time, so that they share the model's "
            "batches. The answer's `data` has an item for each, in their order, with `index`, `status`, and either "
            "`response` or `error`. If one of the inputs is malformed, none is run."
        ),
        *_code(BATCH),
    ]
    for spec in specs:
        lines += _tool(spec)
    return lines


def _response_of(spec: SkillSpec, components: Mapping[str, Schema]) -> str:
    result = spec.result_model.__name__
    return next(
        name
        for name, schema in components.items()
        if name.endswith("Response") and reference(schema["properties"].get("result", {})) == result
    )


def _tool(spec: SkillSpec) -> list[str]:
    needs = ", ".join(f"`{symbol}`" for symbol in sorted(spec.consumes)) or "no picture"
    facts = [f"Works on {needs}."]
    if spec.aliases:
        facts.append(f"Also called {', '.join(f'`{name}`' for name in spec.aliases)}.")
    if spec.produces:
        made = ", ".join(f"`{field}` ({symbol})" for field, symbol in spec.produces.items())
        facts.append(f"Makes {made}.")
    if spec.parts:
        facts.append(f"Runs {', '.join(f'`{part}`' for part in spec.parts)}.")
    return [
        f"### {spec.name}",
        "",
        *_prose(spec.description),
        *_prose(" ".join(facts)),
        *fields_table(_local(spec.args_schema()), title="argument"),
        *fields_table(_local(spec.result_schema()), title="result"),
        *_code(of_tool(spec)),
    ]


def _local(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in schema.items() if name != "$defs"}


def _types(document: Mapping[str, Any], specs: Sequence[SkillSpec]) -> list[str]:
    """The components that the page links to, directly or through one another."""
    components = document["components"]["schemas"]
    first = [
        schema for path, methods in document["paths"].items() if not path.startswith(_TOOL) for schema in [methods]
    ]
    waiting = references_in(first)
    waiting += [
        name
        for spec in specs
        for made in (spec.args_schema(), spec.result_schema())
        for name in references_in(_local(made))
    ]
    waiting += ["AnswerPicture", "Timing"]
    found: dict[str, None] = {}
    while waiting:
        name = waiting.pop()
        if name in components and name not in found:
            found[name] = None
            waiting += references_in(components[name])
    return sorted(name for name in found if not name.startswith("Body_"))


def _type(name: str, schema: Schema) -> list[str]:
    table = fields_table(schema)
    return [f"### {name}", "", *_prose(schema.get("description", "")), *(table or [type_of(schema), ""])]


def _resolved(schema: Schema, components: Mapping[str, Schema]) -> Schema:
    name = reference(schema)
    return components[name] if name is not None else schema


def _prose(text: str) -> list[str]:
    paragraphs = [textwrap.fill(" ".join(one.split()), WIDTH, break_long_words=False) for one in text.split("\n\n")]
    return [line for paragraph in paragraphs if paragraph for line in (*paragraph.splitlines(), "")]


def _code(script: str) -> list[str]:
    return ["```bash", *script.splitlines(), "```", ""]
