"""Schemathesis holds the portal and the gateway's own pages to their OpenAPI document: no 5xx, nothing undocumented."""

from importlib.resources import files

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from ledgers import fixture
from portals import PortalProcess
from schemathesis.specs.openapi.checks import positive_data_acceptance

from entrepot.services import Services
from entrepot.settings import load_settings
from entrepot.store.audit import Actor

pytestmark = pytest.mark.slow

document = schemathesis.openapi.from_path(files("entrepot.portal") / "openapi.json")
# By its own account, a URL that is too long is refused whatever is in it.
document.config.checks.negative_data_rejection.expected_statuses += ["414"]
ANN = Actor("ann", "command", "0" * 36)
own = fixture()
fuzzing = settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip


@pytest.fixture(scope="module")
def portal(own):
    with PortalProcess(own) as portal:
        yield portal


@pytest.fixture(scope="module")
def secret(own):
    with Services.from_settings(load_settings(own.settings, environ={})) as services:
        return services.credentials.make("secret", services.catalog().clients["shop"], actor=ANN).text


@pytest.fixture(scope="module")
def base_url(own, portal):
    return f"http://127.0.0.1:{own.port}"


def check(case, base_url, **options):
    # Whether a client and its secret are right, and shown in one place alone, is nothing that a schema can say.
    case.call_and_validate(base_url=base_url, excluded_checks=[positive_data_acceptance], **options)


@document.parametrize()
@fuzzing
def test_answers_to_anybody_are_as_described(case, base_url):
    check(case, base_url)


@document.parametrize()
@fuzzing
def test_answers_to_a_client_are_as_described(case, base_url, own, secret):
    if case.path.startswith("/oauth/") and case.method == "POST":
        check(case, base_url, auth=("shop", secret))
    else:
        check(case, base_url, headers={"Authorization": f"Bearer {own.tokens['shop']}"})


def test_document_that_is_served_is_the_one_that_was_tried(own, portal):
    served = own.call("GET", "/docs/openapi.json")

    assert served.body == (files("entrepot.portal") / "openapi.json").read_bytes()
