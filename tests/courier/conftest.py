import pytest
from stand import Receiver, Stand, relay_catalog

from ports import held_port


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def free_port():
    return held_port()


@pytest.fixture
def other_port():
    return held_port()


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
