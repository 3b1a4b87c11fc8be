from __future__ import annotations

import pytest

from meshconsole.edge.gateway import Settings
from tests.edge.gateway_site import Site, make_site


@pytest.fixture(scope="module")
def only_site() -> Site:
    return make_site()


@pytest.fixture
def site(only_site: Site) -> Site:
    only_site.settings[0] = Settings()
    return only_site
