"""The document of the fixed paths is OpenAPI 3.1, and tells of all pages."""

from openapi_spec_validator import OpenAPIV31SpecValidator

PAGES_OF_THE_GATEWAY = {"/status", "/transactions", "/transactions/{transaction}"}
HEALTH = "/status"
"""The portal's own page of this name, which the gateway does not relay."""


def test_document_is_openapi_3_1(start_portal):
    document = start_portal().test_client().get("/docs/openapi.json").json

    assert document["openapi"].startswith("3.1.")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_document_has_every_page_and_no_other(start_portal):
    app = start_portal()
    document = app.test_client().get("/docs/openapi.json").json
    served = {
        (rule.rule, method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if not rule.arguments and rule.rule != HEALTH
    }
    described = {
        (path, method) for path, item in document["paths"].items() for method in item if method != "parameters"
    }

    assert {pair for pair in described if pair[0] not in PAGES_OF_THE_GATEWAY} == served
    assert {path for path, _ in described} >= PAGES_OF_THE_GATEWAY


def test_document_may_be_kept_and_asked_for_again(start_portal):
    client = start_portal().test_client()
    answer = client.get("/docs/openapi.json")

    again = client.get("/docs/openapi.json", headers={"If-None-Match": answer.headers["ETag"]})

    assert "max-age" in answer.headers["Cache-Control"]
    assert again.status_code == 304
