"""SIGTERM is answered as Ctrl-C is, and what was answered before is so again."""

import signal

import pytest

from boxwright._util.stopping import Terminated, stop_behind, stopping_in_order


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_signal_becomes_its_exception(number: int, error: type[BaseException]) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt) as caught, stopping_in_order() as came:
        signal.raise_signal(number)
    assert type(caught.value) is error
    assert came == [number]
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_what_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a shell's background
    try:
        with stopping_in_order() as came:
            signal.raise_signal(signal.SIGINT)
        assert came == []
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_stop_behind_another_exception() -> None:
    def exit_of(stop: BaseException) -> BaseException:
        try:
            try:
                raise stop
            except KeyboardInterrupt:
                raise SystemExit(1)  # noqa: B904
        except SystemExit as error:
            return error

    stop = Terminated()
    assert stop_behind(exit_of(stop)) is stop
    assert stop_behind(stop) is stop
    assert stop_behind(SystemExit(0)) is None
    assert stop_behind(None) is None
