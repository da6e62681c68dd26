"""A cluster of Ray that is not there, or cannot be used, is one sentence. What Ray does: tests/test_processes.py."""

import socket
import sys

import pytest

from headstart.errors import SettingsError
from headstart.support import cluster


def test_without_ray_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SettingsError, match=r"--ray needs an extra: .*pip install 'headstart\[ray\]'"):
        cluster.connected("auto").__enter__()


@pytest.mark.slow
@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:nonsense", "127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_an_address_where_nothing_runs_is_refused_at_once(address):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(SettingsError, match="no cluster of Ray takes the connection"):
        cluster.connected(address.format(port)).__enter__()
