import io

from deploy.progress import Progress


def test_without_a_terminal_every_change_is_a_line_with_its_time() -> None:
    times = iter([0.0, 1.5, 1.5, 4.25, 4.25])
    stream = io.StringIO()

    with Progress(stream, clock=lambda: next(times)) as progress:
        progress.expect("redis", "gateway")
        progress.set("redis", "loading", "starting")
        progress.set("redis", "loading", "starting")
        progress.set("redis", "ready", "embedded")

    assert stream.getvalue().splitlines() == [
        "   1.5s  redis            loading  starting",
        "   4.2s  redis            ready    embedded",
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_there_is_one_table_with_all_components() -> None:
    stream = Terminal()

    with Progress(stream) as progress:
        progress.expect("redis", "gateway")
        progress.set("redis", "ready", "embedded")

    shown = stream.getvalue()
    assert "component" in shown
    assert "gateway" in shown
    assert "waiting" in shown
