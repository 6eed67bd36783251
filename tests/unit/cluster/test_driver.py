"""What is said of a cluster that is not there."""

import socket
import sys
from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError
from dianoia.cluster.driver import address_of, connected


@pytest.mark.parametrize(
    ("cluster", "address"),
    [("ray", "auto"), ("ray=auto", "auto"), ("ray=10.0.0.1:6379", "10.0.0.1:6379")],
)
def test_addresses(cluster: str, address: str) -> None:
    assert address_of(cluster) == address


@pytest.mark.parametrize("cluster", ["", "slurm", "ray=", "ray=host", "ray=:6379", "ray=host:port"])
def test_what_is_no_cluster_is_refused(cluster: str) -> None:
    with pytest.raises(ConfigError, match=f"--cluster {cluster}: this is no cluster"):
        address_of(cluster)


def test_without_the_package_the_message_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(ConfigError, match=r"pip install 'dianoia-r1\[ray\]', on every node"),
        connected("ray", tmp_path, {}),
    ):
        pass


def test_an_address_without_a_cluster_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", sys)  # not used
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with (
        pytest.raises(ConfigError, match=f"nothing answers at 127.0.0.1:{port}"),
        connected(f"ray=127.0.0.1:{port}", tmp_path, {}),
    ):
        pass
