"""Where is listened, and that a signal ends the server within seconds."""

import signal
import threading

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")

from cellseg.errors import CellsegError
from cellseg.web import prediction
from cellseg.web import server as module
from cellseg.web.server import address_of, is_loopback, listen, make_server


async def answer_nothing(scope: object, receive: object, send: object) -> None:
    """Be an application that is never asked."""


@pytest.mark.parametrize(
    ("host", "is_local"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("localhost", True)]
    + [("0.0.0.0", False), ("192.168.1.2", False), ("::", False), ("example.org", False)],
)
def test_loopback_then_only_this_machine(host: str, is_local: bool) -> None:
    assert is_loopback(host) is is_local


def test_port_when_taken_or_impossible_then_one_sentence() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert address_of(listener) == f"http://127.0.0.1:{port}/"
        for wrong in (port, 70_000):
            with pytest.raises(CellsegError, match="--port"):
                listen("127.0.0.1", wrong)


def test_server_when_it_does_not_end_by_itself_then_it_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = threading.Event()
    done: list[object] = []
    monkeypatch.setattr(module, "_LONGEST_END_S", 0.1)
    monkeypatch.setattr(module.os, "_exit", lambda status: (done.append(status), ended.set()))
    server = make_server(answer_nothing, lambda: done.append("cleaned up"))
    for _ in range(2):  # Ctrl-C twice
        server.handle_exit(signal.SIGTERM, None)
    assert ended.wait(60)
    assert server.should_exit
    assert done == ["cleaned up", 0]


def test_timers_of_the_end_always_sum_up_to_less_than_5_s() -> None:
    by_itself = module._GRACE_S + prediction._LONGEST_END_S
    assert by_itself < module._LONGEST_END_S < 5
