from __future__ import annotations

import inspect

import pytest

import llava_plus
from deploy.cli.outcome import EXIT_STATUSES, end_of, ending
from deploy.errors import DeployError

ERRORS = [
    kind
    for kind in vars(llava_plus).values()
    if inspect.isclass(kind) and issubclass(kind, llava_plus.LlavaPlusError) and kind is not llava_plus.LlavaPlusError
]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_of_the_client_ends_a_command_with_a_documented_status(
    kind: type[llava_plus.LlavaPlusError],
) -> None:
    assert end_of(kind("Something.")).exit_status in EXIT_STATUSES


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (llava_plus.PictureError("x"), 2),
        (llava_plus.ServerUnreachable("x"), 3),
        (llava_plus.UnexpectedAnswer("x"), 3),
        (llava_plus.BadRequest("x"), 4),
        (llava_plus.NotFound("x"), 4),
        (llava_plus.ServerFailed("x"), 5),
        (llava_plus.Conflict("x", code="job_cancelled"), 5),
        (llava_plus.Conflict("x", code="session_busy"), 6),
        (llava_plus.TimedOut("x"), 6),
        (llava_plus.Unavailable("x"), 6),
        (llava_plus.DeadlineExceeded("x"), 6),
    ],
)
def test_statuses_say_what_to_do(error: llava_plus.LlavaPlusError, status: int) -> None:
    assert end_of(error).exit_status == status


def test_a_missing_key_and_an_inner_error_say_what_helps() -> None:
    assert "LLAVA_PLUS_API_KEY" in str(end_of(llava_plus.NotAuthenticated("No key.")))
    inner = llava_plus.ServerFailed("The server failed.", code="internal_error", request_id="req_7")
    assert str(end_of(inner)) == "The server failed. (req_7)"


def test_an_error_without_the_apis_fields_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DeployError), ending(as_json=True):
        raise llava_plus.TimedOut("Late.")
    assert capsys.readouterr().out == '{"error": {"message": "Late.", "code": null, "kind": "TimedOut"}}\n'
