"""Polite interruption: the first signal asks, the second interrupts."""

import os
import signal
from contextlib import contextmanager

import pytest

from distill.interruption import Interruption


@contextmanager
def hangups(handler):
    """Take hangups in this way, whether or not these tests themselves run under nohup."""
    before = signal.signal(signal.SIGHUP, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_closed_terminal_stops_nothing_under_nohup():
    with hangups(signal.SIG_IGN), Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not interruption.requested


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_interrupts(number, capsys):
    with Interruption() as interruption:
        assert not interruption.requested
        os.kill(os.getpid(), number)
        assert interruption.requested
        assert "once more to stop at once" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)


def test_a_terminal_that_is_closed_asks_however_often_it_is_told():
    """An interactive bash and the kernel both send the signal, a fifth of a millisecond apart."""
    with hangups(signal.SIG_DFL), Interruption() as interruption:
        assert not interruption.requested
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGHUP)
            assert interruption.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_handlers_of_before_are_put_back():
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    with Interruption():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before
