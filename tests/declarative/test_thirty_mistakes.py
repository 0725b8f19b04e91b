import pytest

THIRTY = """\
upstreams:
  erp:
    kind: odoo
    url: ftp://erp
    databse: prod
    login: 17
    secret: hunter2
    timeout: 20
    breaker: {failures: 0}
  carrier:
    kind: http
    url: https://user:pass@api.example
    database: prod
endpoints:
  orders:
    path: /v1/orders/
    upstream: erpp
    model: sale.order
    key: refrence
    where: [[partner_id, "==", "{partner.contact}"]]
    fields:
      reference: {from: client_order_ref, reqired: true}
      number: {from: name, read_only: true, required: true}
    operations: [list, reed]
    page: {default: 200}
    write: queued
    cache: {fresh: soon}
  two-kinds:
    path: /v1/two
    upstream: erp
    model: res.partner
    relay: /x
  confirm:
    path: /v1/confirm/{id}
    upstream: erp
    call: sale.order._action_confirm
    where: [["&", [a, "=", 1]]]
    arguments: {note: "{partner.}"}
    max_body: 3 apples
  docs:
    path: /docs/mine
    upstream: carrier
    relay: /api/{rest}
    methods: [GET, GRAB]
    scopes: {read: "two words"}
    context: {a: 1}
partners:
  azure:
    name: Azure
    values: {contact: 14}
    clients:
      shop: {scopes: [a], networks: [10.0.0.1/8]}
      till: {scopes: [a], rate: {per_second: 0, burst: 1}, quota: {day: 0}}
"""


def test_thirty_mistakes_are_all_told_at_once_each_with_its_line(mistakes):
    found = mistakes(THIRTY)

    assert len(found) == 30
    assert list(found) == [
        "4: upstreams.erp.url",
        "5: upstreams.erp.databse",
        "6: upstreams.erp.login",
        "7: upstreams.erp.secret",
        "8: upstreams.erp.timeout",
        "9: upstreams.erp.breaker.failures",
        "12: upstreams.carrier.url",
        "13: upstreams.carrier.database",
        "16: endpoints.orders.path",
        "17: endpoints.orders.upstream",
        "19: endpoints.orders.key",
        "20: endpoints.orders.where.0.1",
        "22: endpoints.orders.fields.reference.reqired",
        "23: endpoints.orders.fields.number",
        "24: endpoints.orders.operations.1",
        "25: endpoints.orders.page",
        "26: endpoints.orders.write",
        "27: endpoints.orders.cache.fresh",
        "32: endpoints.two-kinds.relay",
        "36: endpoints.confirm.call",
        "37: endpoints.confirm.where.0",
        "38: endpoints.confirm.arguments.note",
        "39: endpoints.confirm.max_body",
        "41: endpoints.docs.path",
        "44: endpoints.docs.methods.1",
        "45: endpoints.docs.scopes.read",
        "46: endpoints.docs.context",
        "52: partners.azure.clients.shop.networks.0",
        "53: partners.azure.clients.till.rate.per_second",
        "53: partners.azure.clients.till.quota.day",
    ]


@pytest.mark.parametrize("secret", ["hunter2", "8472913", "84729138472913847291384", "[8472913]", "'hunter2"])
def test_a_literal_secret_is_never_repeated(mistakes, secret):
    told = " ".join(mistakes(THIRTY.replace("hunter2", secret)).values())

    assert secret.strip("'[]") not in told
    assert "pass@" not in told


def test_a_misspelt_key_is_one_mistake_and_names_the_right_one(mistakes):
    found = mistakes(THIRTY)

    assert found["5: upstreams.erp.databse"] == "an upstream has no key `databse`; did you mean `database`?"
    assert found["19: endpoints.orders.key"] == "`refrence` is no public field; did you mean `reference`?"
