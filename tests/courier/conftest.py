import socket

import pytest
from stand import Receiver, Stand, relay_catalog


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def free_port():
    return unused_port()


@pytest.fixture
def other_port(free_port):
    return next(port for port in iter(unused_port, None) if port != free_port)


@pytest.fixture
def bare_stand(tmp_path, free_port):
    """A store without a catalog."""
    stand = Stand(tmp_path, free_port)
    yield stand
    stand.close()


@pytest.fixture
def stand(bare_stand, receiver):
    """A store whose work goes to *receiver*."""
    bare_stand.apply(relay_catalog(receiver.url))
    return bare_stand
