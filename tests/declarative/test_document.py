import pytest
from catalog_example import WHOLE

from entrepot.catalog.codec import decode, encode
from entrepot.chassis.limits import Rate
from entrepot.declarative.document import check_files
from entrepot.errors import CatalogError
from entrepot.identity.partners import Client, Quota
from entrepot.ledger.retry import RetryPolicy

LEDGER = """\
    write: queue
    patience: 500ms
    order: field:reference
    idempotency: required
    retry: {first: 1s, factor: 3, ceiling: 1m, age: 1d}
"""


def test_the_whole_example_is_right(mistakes):
    assert mistakes(WHOLE) == {}


def test_keys_of_the_ledger_are_acted_on(draft):
    text = WHOLE.replace("    write: auto\n    cache:", LEDGER + "    cache:") + "    max_queued: 5\n"
    text = text.replace("    kind: odoo\n", "    kind: odoo\n    settle: 3m\n") + "    max_queued_bytes: 3GiB\n"

    catalog = draft(text).catalog

    orders = catalog.endpoints["orders"]
    assert (orders.write, orders.patience_s, orders.order, orders.idempotency) == (
        "queue", 0.5, "field:reference", "required",
    )  # fmt: skip
    assert orders.retry == RetryPolicy(1.0, 3, 60.0, 86_400.0)
    assert catalog.endpoints["confirm-order"].write == "auto"
    assert catalog.endpoints["confirm-order"].call.guard == (("state", "in", ("sale", "done")),)
    assert catalog.upstreams["erp"].settle_s == 180.0
    assert catalog.partners["azure"].max_queued == 5
    assert catalog.partners["azure"].max_queued_bytes == 3 * 2**30


def test_what_the_keys_of_the_ledger_are_when_nobody_writes_them(draft):
    catalog = draft(WHOLE).catalog

    rates = catalog.endpoints["rates"]
    assert (rates.write, rates.patience_s, rates.order, rates.idempotency) == ("direct", 2.0, "record", "optional")
    assert rates.retry == RetryPolicy(2.0, 2.0, 600.0, 259_200.0)
    assert catalog.upstreams["erp"].settle_s == 130.0
    assert (catalog.partners["azure"].max_queued, catalog.partners["azure"].max_queued_bytes) == (100_000, 2**30)


def test_networks_of_ipv4_that_are_written_as_ipv6_hold_for_callers(draft):
    client = draft(WHOLE.replace("[10.0.0.0/8]", '["::ffff:10.0.0.0/104", "::ffff:192.0.2.1"]')).catalog.clients["shop"]

    assert [str(network) for network in client.networks] == ["10.0.0.0/8", "192.0.2.1/32"]
    assert decode(Client, encode(client)) == client


PLANS = """\
partners:
  a:
    name: A
    clients:
      shop: {scopes: [], plan: gold, api_keys: true}
      till: {scopes: [], plan: gold, rate: {per_second: 1, burst: 2}, quota: {day: 9}}
      desk: {scopes: []}
plans:
  gold: {rate: {per_second: 20, burst: 50}, quota: {day: 1000}}
"""


def test_a_plan_holds_for_clients_that_have_nothing_of_their_own(draft):
    catalog = draft(PLANS).catalog

    shop, till, desk = (catalog.clients[name] for name in ("shop", "till", "desk"))
    assert (catalog.rate_of(shop), catalog.quota_of(shop)) == (Rate(20, 50), Quota(1000))
    assert (catalog.rate_of(till), catalog.quota_of(till)) == (Rate(1, 2), Quota(9))
    assert (catalog.rate_of(desk), catalog.quota_of(desk)) == (None, None)
    assert [client.api_keys for client in (shop, till, desk)] == [True, False, False]


@pytest.mark.parametrize(
    ("key", "place", "message"),
    [
        ("plan: golden", "6: partners.a.clients.shop.plan", "there is no plan `golden`; did you mean `gold`?"),
        ("quota: {day: 0}", "6: partners.a.clients.shop.quota.day", "must be"),
        ("quota: {}", "6: partners.a.clients.shop.quota", "day"),
        ("quota: {week: 1, day: 1}", "6: partners.a.clients.shop.quota.week", "has no key `week`"),
        ("api_keys: 1", "6: partners.a.clients.shop.api_keys", "must be true or false"),
    ],
)
def test_what_is_wrong_with_plans_quotas_and_api_keys_is_told(mistakes, key, place, message):
    text = f"""\
partners:
  a:
    name: A
    clients:
      shop:
        {key}
        scopes: []
plans: {{gold: {{}}}}
"""

    found = mistakes(text)

    assert [where.replace("5:", "6:") for where in found] == [place]
    assert message in next(iter(found.values()))


def test_several_files_are_one_catalog(files):
    upstreams, rest = WHOLE.split("endpoints:\n")

    draft = check_files([files(upstreams, "a.yaml"), files("endpoints:\n" + rest, "b.yaml")])

    assert set(draft.catalog.endpoints) == {"orders", "confirm-order", "rates"}
    assert draft.place("endpoints", "orders").endswith("b.yaml:2")


def test_a_name_that_stands_in_two_files_names_both_places(mistakes, tmp_path):
    found = mistakes(WHOLE, "partners:\n  azure: {name: Azure again}\n")

    assert found == {"catalog1.yaml:2: partners.azure": f"azure stands twice; first at {tmp_path}/catalog.yaml:50"}


def test_a_name_that_stands_twice_in_a_file_names_both_places(mistakes, tmp_path):
    found = mistakes("partners:\n  azure: {name: A}\n  azure: {name: B}\n")

    assert found == {"3: partners.azure": f"azure stands twice; first at {tmp_path}/catalog.yaml:2"}


def test_a_client_name_is_unique_in_the_catalog(mistakes, tmp_path):
    found = mistakes(
        "partners:\n  a: {name: A, clients: {shop: {scopes: [x]}}}\n"
        "  b:\n    name: B\n    clients:\n      shop: {scopes: [x]}\n"
    )

    message = f"a client's name is unique in the catalog: a has it too, at {tmp_path}/catalog.yaml:2"
    assert found == {"6: partners.b.clients.shop": message}


def test_a_file_that_cannot_be_read_says_nothing_of_references_to_it(files, tmp_path):
    _, rest = WHOLE.split("endpoints:\n")

    with pytest.raises(CatalogError) as caught:
        check_files([files("endpoints:\n" + rest), tmp_path / "missing.yaml"])

    assert [mistake.path for mistake in caught.value.errors] == [f"{tmp_path}/missing.yaml"]


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        (b"partners: {a: {name: \xff}}", "1", "not UTF-8"),
        ("partners:\n\ta: 1", "2: partners", "a tab stands here"),
        ("", "1", "empty"),
        ("# only this\n", "1", "empty"),
        ("---\npartners: {}\n---\npartners: {}\n", "3", "second document"),
        ("- a\n- b\n", "1", "this is a list"),
        ("just text", "1", "this is a text"),
        ("partners: {a: {name: 'x\n", "1: partners.a.name", "not YAML"),
        ("partners: " + "[" * 200, "1: partners", "nested more than 64 deep"),
        ("partners: &p {a: *p}", "1: partners.a", "stands for nothing"),
        ("partners: {a: {name: !!python/object:os.system x}}", "1: partners.a.name", "means nothing here"),
        ("partners: {a: {name: '\\0'}}".replace("'", '"'), "1: partners.a.name", "a NUL or half a surrogate pair"),
        ("partners: {a: {name: A, values: {x: .nan}}}", "1: partners.a.values.x", "no numbers in JSON"),
        ("partners: {a: {name: A, values: {x: 99999999999999999999}}}", "1: partners.a.values.x", "beyond 64 bits"),
        ("partners: {a: {name: A, values: {x: 1e999}}}", "1: partners.a.values.x", "beyond what JSON can hold"),
        ("%YAML 1.1\n---\npartners: {}\n", "2", "YAML 1.1"),
        ("<<: {a: 1}", "1: <<", "merge keys"),
        ("plans: {gold: {day: 1}}", "1: plans.gold.day", "has no key `day`"),
        ("partner: {}", "1: partner", "did you mean `partners`?"),
    ],
)
def test_what_is_no_catalog_says_what_and_where(mistakes, content, place, message):
    found = mistakes(content)

    assert list(found) == [place]
    assert message in found[place]


def test_aliases_cannot_make_a_small_file_huge(mistakes):
    laughs = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + step)}: &{chr(98 + step)} [{','.join(['*' + chr(97 + step)] * 9)}]\n" for step in range(9)
    )

    assert "aliases repeat more than 100000 values in this file" in mistakes(laughs).values()


def test_an_anchor_may_be_used_again(draft):
    found = draft("partners:\n  a: {name: A, values: &v {contact: 1}}\n  b: {name: B, values: *v}\n")

    assert found.catalog.partners["b"].values == {"contact": 1}
    assert found.place("partners", "b", "values").endswith(":3")


def test_a_file_that_is_too_large_is_not_read(files):
    with pytest.raises(CatalogError, match="1 mistake") as caught:
        check_files([files(b"#" * (16 * 2**20 + 1))])

    assert "16 MiB" in caught.value.errors[0].message
