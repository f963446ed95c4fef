import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import preflight
from deploy.errors import UsageError
from deploy.profile import load_profile
from deploy.settings import DeploySettings
from tests.conftest import free_port

GIB = 2**30


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_in_use_is_said_with_its_owner_and_the_option_to_choose_another(taken_port: int) -> None:
    with pytest.raises(UsageError, match=rf"Port {taken_port} is in use by .*process \d+.*--port") as raised:
        preflight.check_port("127.0.0.1", taken_port)

    assert raised.value.exit_status == 2


def test_a_free_port_passes() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    preflight.check_port("127.0.0.1", port)


def test_a_grpc_port_in_use_is_said_with_the_variable_that_chooses_another(taken_port: int) -> None:
    free = {"host": "127.0.0.1", "port": free_port(), "folders": [], "own_redis": False}

    with pytest.raises(UsageError, match=rf"Port {taken_port} is in use.*LLAVA_PLUS_GRPC_PORT"):
        preflight.check_all(load_profile("embedded"), grpc_port=taken_port, **free)


@pytest.mark.parametrize(
    ("settings", "grpc_port"),
    [({"port": 8000}, 9000), ({"port": 65000}, 64000), ({"grpc_port": 50051}, 50051), ({"grpc_port": 0}, 0)],
)
def test_grpc_is_a_thousand_ports_beside_http_unless_it_is_put_elsewhere(
    settings: dict[str, int], grpc_port: int
) -> None:
    assert DeploySettings.model_validate(settings).chosen_grpc_port == grpc_port


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(UsageError, match="--host"):
        preflight.check_port("203.0.113.1", 8000)


def test_too_little_memory_says_how_much_is_needed() -> None:
    with pytest.raises(UsageError, match=r"1\.0 GiB of memory is free.*needs 6\.0 GiB"):
        preflight.check_memory(6 * GIB, available=GIB)


def test_enough_memory_passes() -> None:
    preflight.check_memory(6 * GIB, available=6 * GIB)


def test_a_control_group_lowers_the_memory_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")
    monkeypatch.setattr(preflight, "CGROUP", tmp_path)

    assert preflight.memory_available() == 600


def test_too_little_disk_names_the_folder_even_before_it_exists(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "yet"

    with pytest.raises(UsageError, match=rf"disk is free at {folder}.*LLAVA_PLUS_STATE_DIR"):
        preflight.check_disk(2**60, [folder])


def test_missing_packages_are_listed_with_the_command_that_installs_them() -> None:
    with pytest.raises(UsageError, match=r"absent_one, absent_two\. Run `make up`"):
        preflight.check_packages(["json", "absent_one", "absent_two"])


def test_an_old_python_is_refused_with_the_way_to_name_another() -> None:
    with pytest.raises(UsageError, match=r"3\.11 or newer is needed, this is 3\.10"):
        preflight.check_python((3, 10))


def test_page_cache_that_the_kernel_would_drop_counts_as_free_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.stat").write_text("anon 350\nfile 550\ninactive_file 300\nactive_file 200\n")
    monkeypatch.setattr(preflight, "CGROUP", tmp_path)

    assert preflight.memory_available() == 600


def test_a_bad_value_for_the_gateway_is_one_line_that_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAVA_PLUS_TURN_DEADLINE_S", "soon")

    with pytest.raises(UsageError, match=r"\ALLAVA_PLUS_TURN_DEADLINE_S=soon: [^\n]*\Z") as raised:
        preflight.check_gateway_settings({})

    assert raised.value.exit_status == 2


def test_the_profiles_own_variables_count_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAVA_PLUS_MESSAGES_MAX", "many")
    preflight.check_gateway_settings({"LLAVA_PLUS_MESSAGES_MAX": "9", "OTHER": "x"})

    with pytest.raises(UsageError, match="LLAVA_PLUS_MESSAGES_MAX=few"):
        preflight.check_gateway_settings({"LLAVA_PLUS_MESSAGES_MAX": "few"})
