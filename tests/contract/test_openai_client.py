"""The official OpenAI client talks to the gateway without noticing a difference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from gateway_fakes import FakePlanner, data_url, picture, question

from planner.api import PlannerUnavailable

PICTURE = data_url(picture("JPEG", (64, 48)), "image/jpeg")


@pytest.fixture(scope="module")
def client(gateway: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0, timeout=30.0) as client:
        yield client


@pytest.fixture
def broken_planner(gateway: Any) -> Iterator[FakePlanner]:
    gateway.planner.fails = PlannerUnavailable("The planner is starting.", retry_after_s=1.0)
    yield gateway.planner
    gateway.planner.fails = None


def ask(client: openai.OpenAI, *messages: Any, **fields: Any) -> Any:
    return client.chat.completions.create(model="llava-plus", messages=list(messages), **fields)


def test_a_question_with_a_picture_is_answered_through_a_skill(client: openai.OpenAI, gateway: Any) -> None:
    answer = ask(client, question("Please read the sign.", PICTURE))
    assert answer.choices[0].message.content == "It says STOP."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == 30
    assert answer.model == "fake-planner"
    assert answer.images[0].startswith("img_")
    skill, _, _, context = gateway.skills.calls[-1]
    assert skill == "reader"
    assert context.request_id == answer._request_id


def test_only_the_answer_is_returned_unless_debug_is_asked_for(client: openai.OpenAI) -> None:
    hidden = ask(client, question("Please read the sign.", PICTURE))
    shown = ask(client, question("Please read the sign.", PICTURE), extra_body={"debug": True})
    assert "I need the text." not in hidden.model_dump_json()
    steps = shown.debug["steps"]
    assert [step["thoughts"] for step in steps] == ["I need the text.", "I can answer."]
    assert steps[0]["actions"] == [{"API_name": "reader", "API_params": {}}]
    assert steps[0]["results"]
    assert steps[0]["planner_ms"] >= 0


def test_a_second_question_about_the_same_picture_needs_no_new_upload(client: openai.OpenAI) -> None:
    first = ask(client, question("What is it?", PICTURE))
    second = ask(client, question("And now?"), extra_body={"session_id": first.session_id})
    assert second.session_id == first.session_id
    assert second.choices[0].message.content == "I see 1 picture(s). You asked: And now?"


def test_a_client_may_also_send_the_whole_conversation_itself(client: openai.OpenAI) -> None:
    answer = ask(
        client,
        {"role": "system", "content": "Be brief."},
        question("What is it?", PICTURE),
        {"role": "assistant", "content": "A sign."},
        question("And now?"),
    )
    assert answer.choices[0].message.content == "I see 1 picture(s). You asked: And now?"


def test_a_handle_stands_for_an_uploaded_picture(client: openai.OpenAI, gateway: Any) -> None:
    with gateway.client() as http:
        handle = http.post("/v1/images", files={"file": picture()}).json()["id"]
    answer = ask(client, question("What is it?", handle))
    assert answer.images == [handle]


def test_pictures_may_be_given_by_url_several_at_once(client: openai.OpenAI, gateway: Any) -> None:
    urls = ["https://pictures.test/a.png", "https://pictures.test/b.png"]
    gateway.web.pages = {urls[0]: picture(), urls[1]: picture(color="blue")}
    answer = ask(client, question("What is it?", *urls, PICTURE))
    assert answer.choices[0].message.content.startswith("I see 3 picture(s).")
    assert len(set(answer.images)) == 3


@pytest.mark.parametrize("found", [b"<html>Not found</html>", picture(size=(20_000, 20_000), mode="1", color=0)])
def test_what_a_url_gives_is_a_picture_only_if_it_decodes_as_one_within_the_limits(
    client: openai.OpenAI, gateway: Any, found: bytes
) -> None:
    gateway.web.pages = {"https://pictures.test/x.png": found}
    with pytest.raises(openai.BadRequestError) as bad:
        ask(client, question("What is it?", "https://pictures.test/x.png"))
    assert bad.value.code == "invalid_image"
    assert bad.value.param == "messages.0.content.1.image_url.url"


def test_a_stream_adds_up_to_the_answer_and_ends_with_the_session(client: openai.OpenAI) -> None:
    stream = ask(client, question("Please read the sign.", PICTURE), stream=True, extra_body={"debug": True})
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "It says STOP."
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].session_id.startswith("sess_")
    assert len(chunks[-1].debug["steps"]) == 2


def test_usage_is_streamed_on_request(client: openai.OpenAI) -> None:
    *chunks, last = ask(client, question("Hi"), stream=True, stream_options={"include_usage": True})
    assert last.usage.total_tokens == 15
    assert all(chunk.usage is None for chunk in chunks)


def test_the_clients_own_stream_helper_understands_the_stream(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="llava-plus", messages=[question("Hi")]) as stream:  # type: ignore[list-item]
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "I see 0 picture(s). You asked: Hi"


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["fake-planner"]


def test_a_model_is_found_by_its_name_and_another_one_is_not(client: openai.OpenAI) -> None:
    assert client.models.retrieve("fake-planner").id == "fake-planner"
    with pytest.raises(openai.NotFoundError, match="there are: fake-planner") as missing:
        client.models.retrieve("fake-planner:birds")
    assert missing.value.code == "model_not_found"


def test_errors_are_the_clients_own_exceptions(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        ask(client, question("Hi", "https://example.com/cat.png"))
    assert bad.value.code == "image_url_refused"
    assert bad.value.param == "messages.0.content.1.image_url.url"
    assert bad.value.request_id
    with pytest.raises(openai.NotFoundError):
        ask(client, question("Hi"), extra_body={"session_id": "sess_unknown"})
    with pytest.raises(openai.UnprocessableEntityError):
        ask(client, question("Hi"), temperature=9)


@pytest.mark.parametrize("stream", [False, True])
def test_a_planner_that_is_away_is_a_503_that_says_when_to_try_again(
    client: openai.OpenAI, broken_planner: FakePlanner, stream: bool
) -> None:
    with pytest.raises(openai.InternalServerError) as error:
        ask(client, question("Hi"), stream=stream)
    assert error.value.status_code == 503
    assert error.value.response.headers["Retry-After"] == "1"
    assert error.value.code == "planner_unavailable"


def test_closing_a_stream_stops_the_planner(client: openai.OpenAI, gateway: Any) -> None:
    gateway.planner.cancelled.clear()
    with ask(client, question("hang"), stream=True) as stream:
        assert [next(stream).choices[0].delta.content for _ in range(2)] == ["", "Well"]
    assert gateway.planner.cancelled.wait(timeout=10)


def test_giving_up_on_an_answer_stops_the_planner(gateway: Any) -> None:
    gateway.planner.cancelled.clear()
    with gateway.client() as client, pytest.raises(httpx.ReadTimeout):
        client.post("/v1/chat/completions", json={"messages": [question("hang")]}, timeout=2)
    assert gateway.planner.cancelled.wait(timeout=10)


def test_several_answers_come_with_the_tokens_of_all(client: openai.OpenAI) -> None:
    answer = ask(client, question("Please read the sign.", PICTURE), n=3, temperature=0.5, seed=1, top_p=0.9, user="me")
    assert [choice.message.content for choice in answer.choices] == ["It says STOP."] * 3
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert answer.usage.total_tokens == 90
