"""The names that the page answers to, so that no name of another site leads to it.

A browser lets a site read whatever lies behind the site's own name. If that name is made to lead to
this machine (DNS rebinding), only the `Host` of the request tells.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from cellseg.errors import CellsegError
from cellseg.web.server import is_loopback

_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[0-9a-z._-]{1,253})(:[0-9]{1,5})?")
_NAME = re.compile(r"(?!-)[0-9a-z_-]{1,63}(\.(?!-)[0-9a-z_-]{1,63})*")


@dataclass(frozen=True)
class OwnNames:
    """What a request may call the page.

    Attributes:
        names: Names in lower case, without port.
        takes_addresses: Whether any IP address will do; no one else can make one lead here.
    """

    names: frozenset[str]
    takes_addresses: bool = False

    def __contains__(self, host: object) -> bool:
        """Return whether a `Host` header names the page."""
        found = _HOST.fullmatch(str(host).lower())
        if found is None:
            return False
        name = found[1]
        return name in self.names or (self.takes_addresses and _is_address(name))


def find_own_names(host: str, allowed: Iterable[str] = ()) -> OwnNames:
    """List the names of a page.

    Args:
        host: Address that is listened on. On loopback only names of loopback will do; elsewhere IP
            addresses and the names that this machine gives itself, which asks no name server.
        allowed: Further names, such as that of a proxy.

    Returns:
        The names.

    Raises:
        CellsegError: If a further name is none.
    """
    listened = f"[{host}]" if ":" in host else host
    names = {"localhost", "127.0.0.1", "[::1]", listened.lower()}
    for given in allowed:
        if not _NAME.fullmatch(given.lower()):
            raise CellsegError(
                f"--allow-host {given} is not a host name; give the name alone, without http:// or "
                "port, such as cells.example.org."
            )
        names.add(given.lower())
    if is_loopback(host):
        return OwnNames(frozenset(names))
    own = socket.gethostname().lower()
    return OwnNames(frozenset(names | {own, own.partition(".")[0]}), takes_addresses=True)


def _is_address(name: str) -> bool:
    """Return whether the name in a `Host` header is an IP address."""
    try:
        if name.startswith("["):
            ipaddress.IPv6Address(name[1:-1])
        else:
            ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True
