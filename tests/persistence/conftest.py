import pytest

from tests.persistence.implementations import LOG_IMPLEMENTATIONS, OpenLog


@pytest.fixture(params=sorted(LOG_IMPLEMENTATIONS))
def open_log(request: pytest.FixtureRequest) -> OpenLog:
    return LOG_IMPLEMENTATIONS[request.param](request)
