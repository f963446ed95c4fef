"""Ctrl-C while a command waits."""

from __future__ import annotations

import ctypes
import operator
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from deploy.cli.interrupts import interruptible

WAIT_S = 20.0
_call: Callable[[Callable[[], object]], object] = operator.call


@pytest.fixture(autouse=True)
def interrupts() -> Iterator[None]:
    """Ctrl-C is heard, also where the tests were started in the background of a shell, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def silence() -> Iterator[socket.socket]:
    """A connection on which nothing comes."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(WAIT_S)
        yield ours


def interrupted_on_the_way_into(blocking: Callable[[], object]) -> None:
    """The signal comes after Python's last look at what it noted, and before the call blocks: both are C functions."""
    note = partial(getattr(ctypes.CDLL(None), "raise"), signal.SIGINT)
    both: tuple[Callable[[], object], ...] = (note, blocking)
    deque(map(_call, both))


def test_an_interrupt_just_before_a_blocking_call_ends_it(silence: socket.socket) -> None:
    with pytest.raises(KeyboardInterrupt) as caught, interruptible():
        interrupted_on_the_way_into(partial(silence.recv, 1))
    assert not isinstance(caught.value.__context__, TimeoutError), "it was told when the wait was over anyway"


def test_an_interrupt_that_was_swallowed_comes_again(silence: socket.socket) -> None:
    swallowed = []

    @interruptible(again_s=0.0)
    def waits() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as interrupt:
            swallowed.append(interrupt)
        silence.recv(1)

    with pytest.raises(KeyboardInterrupt):
        waits()
    assert swallowed


def test_an_interrupt_in_a_finaliser_is_not_lost(silence: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: dropped.append(told.exc_type))

    class Final:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    @interruptible(again_s=0.0)
    def waits() -> None:
        Final()
        silence.recv(1)

    with pytest.raises(KeyboardInterrupt):
        waits()
    assert dropped == [KeyboardInterrupt]


def test_after_the_block_all_is_as_it_was(silence: socket.socket) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGURG), threading.active_count()
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGURG), threading.active_count()) == before
    assert signal.set_wakeup_fd(-1) == -1
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_interrupts_that_are_ignored_stay_ignored() -> None:
    earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, earlier)


def test_a_block_inside_another_and_one_in_another_thread_leave_interrupts_alone() -> None:
    @interruptible()
    def nested() -> None:
        handler = signal.getsignal(signal.SIGINT)
        with interruptible():
            assert signal.getsignal(signal.SIGINT) == handler
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        nested()
    errors: list[BaseException] = []

    def elsewhere() -> None:
        try:
            with interruptible():
                pass
        except BaseException as error:  # noqa: BLE001 - told to the test
            errors.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert not errors
