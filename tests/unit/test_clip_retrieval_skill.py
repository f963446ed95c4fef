from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from services.core.errors import SkillFailed, SkillUnavailable
from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.retrieval.encoder import middle
from services.skills.clip_retrieval import ClipRetrieval, ClipRetrievalArgs, ClipRetrievalResult
from tests.tiny import clip_retrieval as tiny

pytest.importorskip("transformers", reason="runs CLIP")
pytest.importorskip("faiss", reason="searches with FAISS")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other make a tiny model slow where other processes want the cores too."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.make(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def skill(checkpoint: str) -> ClipRetrieval:
    skill = ClipRetrieval(checkpoint)
    skill.setup()
    return skill


def call(query: str = "", top_k: int = 3, size: tuple[int, int] = (40, 30), seed: int = 0) -> Any:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return SkillCall(ClipRetrievalArgs(query=query, top_k=top_k), {Symbol.IMAGE: Image.fromarray(pixels)})


def answered(skill: ClipRetrieval, *calls: Any) -> list[ClipRetrievalResult]:
    answers = skill.predict(calls)
    assert all(isinstance(answer, ClipRetrievalResult) for answer in answers)
    return [answer for answer in answers if isinstance(answer, ClipRetrievalResult)]


def test_a_text_that_is_in_the_index_is_found_first(skill: ClipRetrieval) -> None:
    (answer,) = answered(skill, call("a red fox in the snow"))
    best = answer.retrieval_results[0]
    assert (best.caption, best.id, best.source) == ("a red fox in the snow", 1, "facts")
    assert best.similarity == pytest.approx(1.0, abs=2e-3)
    assert len(answer.retrieval_results) == 3


def test_texts_and_pictures_in_one_batch_equal_those_asked_alone(skill: ClipRetrieval) -> None:
    calls = [call("the city"), call(seed=1), call("a boat", top_k=1), call(seed=2, top_k=5, size=(9, 200))]
    together = answered(skill, *calls)
    for one, answer in zip(calls, together, strict=True):
        (alone,) = answered(skill, one)
        assert [hit.id for hit in answer.retrieval_results] == [hit.id for hit in alone.retrieval_results]
    assert [len(answer.retrieval_results) for answer in together] == [3, 3, 1, 5]


def test_asking_for_more_than_there_is_gives_all(skill: ClipRetrieval) -> None:
    (answer,) = answered(skill, call(top_k=50))
    assert len(answer.retrieval_results) == len(tiny.FACTS)


@pytest.mark.parametrize("size", [(1, 1), (1, 3), (3, 1), (1, 2000), (2000, 1), (400, 20)])
def test_odd_pictures_are_answered_with_their_own_size(skill: ClipRetrieval, size: tuple[int, int]) -> None:
    (answer,) = answered(skill, call(size=size))
    assert (answer.size.width, answer.size.height) == size
    assert len(answer.retrieval_results) == 3


def test_a_query_of_spaces_searches_for_the_picture(skill: ClipRetrieval) -> None:
    assert answered(skill, call("  ", seed=1)) == answered(skill, call(seed=1))


def test_a_query_longer_than_the_model_reads_is_cut(skill: ClipRetrieval) -> None:
    assert answered(skill, call("a boat " * 40))


def test_only_the_middle_of_a_very_long_picture_is_kept() -> None:
    assert middle(Image.new("RGB", (100, 400))).size == (100, 400)
    assert middle(Image.new("RGB", (10, 400))).size == (10, 40)
    long = Image.new("RGB", (400, 10))
    long.putpixel((200, 5), (255, 0, 0))
    assert middle(long).getpixel((20, 5)) == (255, 0, 0)


def test_a_small_planner_is_told_the_captions_alone(skill: ClipRetrieval) -> None:
    (answer,) = answered(skill, call("the city", top_k=1))
    assert answer.observation(brief=True) == {"retrieval_results": ["the city"]}
    assert answer.observation(brief=False)["retrieval_results"] == [
        {"caption": "the city", "similarity": 1.0, "id": 2, "source": "facts"}
    ]


def test_without_an_index_the_start_says_what_to_do(tmp_path: Path) -> None:
    tiny.make_clip(tmp_path)
    with pytest.raises(SkillFailed, match="llava-plus index build"):
        ClipRetrieval(str(tmp_path)).setup()


def test_an_index_of_other_weights_is_refused_at_the_start(checkpoint: str, tmp_path: Path) -> None:
    tiny.make_clip(tmp_path, seed=1)
    with pytest.raises(SkillFailed, match="other CLIP weights"):
        ClipRetrieval(str(tmp_path), index=f"{checkpoint}/index").setup()


def test_half_precision_finds_the_same(checkpoint: str) -> None:
    skill = ClipRetrieval(checkpoint, dtype="bfloat16")
    skill.setup()
    (answer,) = answered(skill, call("a red fox in the snow", top_k=1))
    assert answer.retrieval_results[0].id == 1


class Service(BaseHTTPRequestHandler):
    """Answers like clip-retrieval's knn-service, or as the test tells it to."""

    requests: list[dict[str, Any]]
    status = 200
    body = b""

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.requests.append(request)
        found = [
            {"id": 7, "similarity": 0.21, "caption": "a pier", "url": "https://example.org/7.jpg", "width": 512},
            {"id": 3, "similarity": 0.35, "caption": "two boats", "url": "https://example.org/3.jpg"},
            {"id": 9, "similarity": 0.33},
            {"id": 5, "similarity": 0.30, "caption": None, "url": None},
        ]
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.body or json.dumps(found[: request["num_images"]]).encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[tuple[str, type[Service]]]:
    handler = type("OneTestsService", (Service,), {"requests": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/knn-service", handler
    server.shutdown()
    server.server_close()
    thread.join()


def remote(url: str, **options: Any) -> ClipRetrieval:
    skill = ClipRetrieval(remote=url, **options)
    skill.setup()
    return skill


def test_a_remote_service_is_asked_by_text_in_its_own_format(service: tuple[str, type[Service]]) -> None:
    url, handler = service
    (answer,) = answered(remote(url, remote_index="laion", remote_modality="text"), call("boats", top_k=2))
    assert [(hit.id, hit.caption, hit.url) for hit in answer.retrieval_results] == [
        (3, "two boats", "https://example.org/3.jpg"),
        (7, "a pier", "https://example.org/7.jpg"),
    ]
    (request,) = handler.requests
    assert request["text"] == "boats"
    assert (request["indice_name"], request["modality"], request["num_images"]) == ("laion", "text", 6)
    assert "image" not in request


def test_a_remote_service_is_sent_the_picture_no_larger_than_needed(service: tuple[str, type[Service]]) -> None:
    url, handler = service
    (answer,) = answered(remote(url), call(size=(900, 300)))
    assert (answer.size.width, answer.size.height) == (900, 300)
    (request,) = handler.requests
    with Image.open(io.BytesIO(base64.b64decode(request["image"]))) as sent:
        assert (sent.format, sent.size) == ("JPEG", (512, 171))
    assert "text" not in request


def test_each_call_of_a_batch_asks_a_remote_service(service: tuple[str, type[Service]]) -> None:
    url, _ = service
    skill = remote(url)
    assert len(answered(skill, call("a"), call("b"))) == 2


@pytest.mark.parametrize(
    ("status", "body", "complaint"),
    [
        (500, b"{}", "status 500"),
        (404, b"{}", "status 404"),
        (200, b"<html>", "another format"),
        (200, b"{}", "format"),
    ],
)
def test_a_remote_service_in_trouble_is_unavailable(
    service: tuple[str, type[Service]], status: int, body: bytes, complaint: str
) -> None:
    url, handler = service
    handler.status, handler.body = status, body
    (answer,) = remote(url).predict([call("a")])
    assert isinstance(answer, SkillUnavailable)
    assert complaint in answer.message
    assert url not in answer.message


def test_a_remote_service_that_is_away_is_unavailable(service: tuple[str, type[Service]]) -> None:
    (answer,) = remote("http://127.0.0.1:9/knn-service").predict([call("a")])
    assert isinstance(answer, SkillUnavailable)
    assert "cannot be reached" in answer.message


def test_a_remote_service_that_is_late_is_unavailable() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/knn-service"
        (answer,) = remote(url, remote_timeout_s=0.2).predict([call("a")])
    assert isinstance(answer, SkillUnavailable)
    assert "in time" in answer.message


def test_the_published_checkpoints_keys_and_shapes_are_those_of_the_full_size_model() -> None:
    import torch
    from transformers import CLIPConfig, CLIPModel

    config = CLIPConfig(
        text_config={"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
        vision_config={
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "image_size": 224,
            "patch_size": 14,
        },
        projection_dim=768,
    )
    with torch.device("meta"):
        model = CLIPModel(config)
    assert {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} == published_tensors()


def published_tensors() -> dict[str, tuple[int, ...]]:
    """Names and shapes in openai/clip-vit-large-patch14."""
    tensors: dict[str, tuple[int, ...]] = {
        "logit_scale": (),
        "text_projection.weight": (768, 768),
        "visual_projection.weight": (768, 1024),
        "text_model.embeddings.token_embedding.weight": (49408, 768),
        "text_model.embeddings.position_embedding.weight": (77, 768),
        "vision_model.embeddings.class_embedding": (1024,),
        "vision_model.embeddings.patch_embedding.weight": (1024, 3, 14, 14),
        "vision_model.embeddings.position_embedding.weight": (257, 1024),
    }
    norms = {
        "text_model.final_layer_norm": 768,
        "vision_model.pre_layrnorm": 1024,  # spelt like this in the published files
        "vision_model.post_layernorm": 1024,
    }
    for tower, width, layers in (("text_model", 768, 12), ("vision_model", 1024, 24)):
        for layer in (f"{tower}.encoder.layers.{index}" for index in range(layers)):
            norms |= {f"{layer}.layer_norm1": width, f"{layer}.layer_norm2": width}
            for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
                tensors |= {
                    f"{layer}.self_attn.{name}.weight": (width, width),
                    f"{layer}.self_attn.{name}.bias": (width,),
                }
            tensors |= {f"{layer}.mlp.fc1.weight": (4 * width, width), f"{layer}.mlp.fc1.bias": (4 * width,)}
            tensors |= {f"{layer}.mlp.fc2.weight": (width, 4 * width), f"{layer}.mlp.fc2.bias": (width,)}
    for name, width in norms.items():
        tensors |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    return tensors
