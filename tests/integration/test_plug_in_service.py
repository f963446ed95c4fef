"""Plug and learn on a real platform: an adapter is trained, loaded into the running planner, asked for, and dropped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

pytest.importorskip("vllm")
pytest.importorskip("torch")
pytest.importorskip("peft")

from deploy.processes import of_run
from deploy.state_dir import StateDir
from tests import tiny_llava
from tests.conftest import free_port
from tests.hue_skill import QUESTIONS

REPOSITORY = Path(__file__).parents[2]
DEADLINE_S = 540.0


class Platform:
    """A platform with the new skill, and a tiny planner that has not heard of it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.state = StateDir(folder / "state")
        self.model = tiny_llava.write(folder / "model", hidden=64)
        self.environment = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
        self.environment["LLAVA_PLUS_STATE_DIR"] = str(self.state.root)
        profile: dict[str, Any] = {
            "applications": [{"name": "hue", "skills": {"hue": {"class": "tests.hue_skill:Hue"}}, "num_cpus": 0}],
            "planner": {
                "skills": [],
                "num_cpus": 0,
                "engine": {
                    "model": str(self.model),
                    "dtype": "float32",
                    "kv_cache_bytes": 16 * 2**20,
                    "max_num_seqs": 4,
                    "adapters_max": 2,
                    "adapter_rank_max": 8,
                    "single_process": True,
                    "env": {"VLLM_CPU_NUM_OF_RESERVED_CPU": "0"},
                },
            },
            "ray": {"num_cpus": 1, "object_store_bytes": 83886080},
        }
        (folder / "profile.yaml").write_text(yaml.safe_dump(profile))
        self._up = ("up", "--profile", str(folder / "profile.yaml"), "--port", str(port))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "deploy.cli.main", *arguments]
        return subprocess.run(
            command,
            env=self.environment | {"OMP_NUM_THREADS": "1"},  # a tiny model has no use for more
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )

    def start(self) -> None:
        """In the background of this test, until it is ready."""
        command = [sys.executable, "-m", "deploy.cli.main", *self._up]
        with (self.folder / "out").open("wb") as out:
            self.process = process = subprocess.Popen(
                command, env=self.environment, cwd=REPOSITORY, stdout=out, stderr=out
            )
        deadline = time.monotonic() + DEADLINE_S
        while (run := self.state.read()) is None or run.phase != "ready":
            assert process.poll() is None, (self.folder / "out").read_text()
            assert time.monotonic() < deadline, (self.folder / "out").read_text()
            time.sleep(0.2)

    def planner_process(self) -> int:
        """The replica's; another one after a restart."""
        run = self.state.read()
        assert run is not None
        titles = {process.pid: " ".join(psutil.Process(process.pid).cmdline()) for process in of_run(run.run_id)}
        (found,) = [pid for pid, title in titles.items() if "ServeReplica:planner" in title]
        return found

    def models(self) -> list[str]:
        return [model["id"] for model in httpx.get(f"{self.url}/v1/models").json()["data"]]

    def chat(self, model: str) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "Which hue is it?"}], "max_tokens": 16}
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, timeout=DEADLINE_S)


@pytest.fixture
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    platform = Platform(tmp_path_factory.mktemp("plug"), free_port())
    yield platform
    platform.run("down")
    if platform.process is not None:
        platform.process.wait(60)


def plug_arguments(platform: Platform) -> list[str]:
    folder = platform.folder
    training = {
        "model": str(platform.model),
        "lengths": [1024],
        "batch_tokens": 4096,
        "precision": "fp32",
        "lora": {"rank": 4, "alpha": 8},
    }
    (folder / "training.yaml").write_text(yaml.safe_dump(training))
    (folder / "questions.txt").write_text(QUESTIONS)
    known = {"conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hi."}]}
    (folder / "known.jsonl").write_text("\n".join(json.dumps(known | {"id": number}) for number in range(30)))
    options = {
        "--questions": folder / "questions.txt",
        "--training": folder / "training.yaml",
        "--replay": folder / "known.jsonl",
        "--folder": folder / "plug",
        "--samples": 8,
        "--choice-min": 0,
    }
    return ["plug", "tests.hue_skill:Hue", *(str(part) for option in options.items() for part in option)]


@pytest.mark.timeout(900)
def test_a_new_skill_s_adapter_is_trained_served_beside_others_and_dropped_without_a_restart(
    platform: Platform,
) -> None:
    platform.start()
    assert platform.models() == ["llava-plus"]
    replica = platform.planner_process()

    plugged = platform.run(*plug_arguments(platform))
    assert plugged.returncode == 0, plugged.stdout + plugged.stderr
    assert "In service" in plugged.stdout
    beside = platform.run("planner", "adapters", "add", "beside", str(platform.folder / "plug" / "adapter"))
    assert beside.returncode == 0, beside.stderr
    assert platform.models() == ["llava-plus", "llava-plus:beside", "llava-plus:hue"]
    for model in platform.models():
        answer = platform.chat(model)
        assert (answer.status_code, answer.json()["model"]) == (200, model), answer.text

    listed = platform.run("planner", "adapters", "list").stdout
    assert [line.split("rank")[0].split() for line in listed.splitlines()] == [["beside"], ["*", "hue"]]
    assert platform.run("planner", "adapters", "remove", "hue").returncode == 0
    assert platform.models() == ["llava-plus", "llava-plus:beside"]
    gone = platform.chat("llava-plus:hue")
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "model_not_found")
    assert platform.chat("llava-plus:beside").status_code == 200
    assert platform.planner_process() == replica
