import pytest

from tests.persistence.implementations import LOG_IMPLEMENTATIONS, STORE_IMPLEMENTATIONS, OpenLog, OpenStore


@pytest.fixture(params=sorted(LOG_IMPLEMENTATIONS))
def open_log(request: pytest.FixtureRequest) -> OpenLog:
    return LOG_IMPLEMENTATIONS[request.param](request)


@pytest.fixture(params=sorted(STORE_IMPLEMENTATIONS))
def open_store(request: pytest.FixtureRequest) -> OpenStore:
    return STORE_IMPLEMENTATIONS[request.param](request)
