"""By which names a page is asked for, on this machine and in a network."""

import socket

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")

from cellseg.errors import CellsegError
from cellseg.web.own_names import find_own_names

LOCAL = ("localhost", "LOCALHOST:7860", "127.0.0.1", "127.0.0.1:7860", "[::1]:7860")
ADDRESSES = ("192.168.1.2:7860", "10.0.0.1", "[fe80::1]", "[2001:DB8::7]:80")
FOREIGN = ("evil.example", "evil.example:7860", "127.0.0.1.evil.example", "localhost.evil.example")
FOREIGN += ("", ":7860", "0x7f000001", "2130706433", "127.1", "[evil.example]", "[::1", "::1")
FOREIGN += ("localhost@evil.example", "localhost/evil", "localhost:x", "localhost\n", "*", "[]")
FOREIGN += ("1.2.3.4.5", "999.1.1.1", "a" * 300, "é")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.9.1"])
def test_names_when_on_loopback_then_those_of_loopback_only(host: str) -> None:
    names = find_own_names(host)
    listened = f"[{host}]" if ":" in host else host
    assert [name for name in (*LOCAL, listened) if name not in names] == []
    own = (socket.gethostname(),) if socket.gethostname() != "localhost" else ()
    assert [name for name in (*ADDRESSES, *FOREIGN, *own) if name in names] == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "cells"])
def test_names_when_in_a_network_then_addresses_and_the_machines_own(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Lab7.hospital.example")
    names = find_own_names(host)
    mine = (*LOCAL, *ADDRESSES, "lab7", "lab7:7860", "lab7.hospital.example:7860")
    assert [name for name in mine if name not in names] == []
    foreign = (*FOREIGN, "hospital.example", "lab8", "lab7.hospital.example.evil.example")
    assert [name for name in foreign if name in names] == []
    assert ("cells:80" in names) is (host == "cells")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_names_when_more_are_given_then_these_too(host: str) -> None:
    names = find_own_names(host, ["Cells.example.org", "proxy"])
    assert "cells.example.org" in names
    assert "proxy:443" in names
    assert "evil.example" not in names
    assert "www.cells.example.org" not in names


@pytest.mark.parametrize("given", ["http://a.example", "a.example:80", "*", "", "a b", ".a", "-x"])
def test_names_when_one_is_none_then_words_say_so(given: str) -> None:
    with pytest.raises(CellsegError, match="--allow-host"):
        find_own_names("0.0.0.0", [given])
