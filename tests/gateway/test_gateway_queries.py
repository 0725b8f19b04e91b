"""Queries and ids: wrong ones are named, odd ones are text, and none reaches the ERP as a domain or as SQL."""

from urllib.parse import quote

import pytest
from catalogs import AZURE

LIST = "/v1/contacts"


@pytest.mark.parametrize(
    "value",
    [
        "0",
        "-1",
        "101",
        "1e1",
        "1.0",
        "+1",
        "%201",
        "1_0",
        "abc",
        "",
        "NaN",
        "null",
        "9" * 19,
        "9" * 400,
        "0x10",
        "%D9%A3",
        "%00",
        "1;2",
        "1,2",
        "%F0%9D%9F%8F",
    ],
)
def test_wrong_limit_is_400_and_named(gateway, assert_problem, value):
    answer = gateway.call("GET", f"{LIST}?limit={value}", token="shop")

    assert_problem(answer, 400, "unknown-parameter", path="limit")


@pytest.mark.parametrize("value", ["-1", "abc", "1.5", "", "NaN", "99999999999999999999", "2147483648", "%D9%A3"])
def test_wrong_offset_is_400_and_named(gateway, assert_problem, value):
    answer = gateway.call("GET", f"{LIST}?offset={value}", token="shop")

    assert_problem(answer, 400, "unknown-parameter", path="offset")


def test_largest_offset_is_an_empty_page(gateway):
    answer = gateway.call("GET", f"{LIST}?offset=2147483647", token="shop")

    assert answer.status == 200, answer.body
    assert answer.data == []


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("colour[between]=1", "colour[between]"),
        ("unknown=1", "unknown"),
        ("parent_id=10", "parent_id"),
        ("parent_id.id=10", "parent_id.id"),
        ("name[=1", "name["),
        ("name]=1", "name]"),
        ("name[ilike]=x", "name[ilike]"),
        ("name[]=x", "name[]"),
        ("name[like][like]=x", "name[like][like]"),
        ("sort=parent_id", "sort"),
        ("sort=name;drop%20table", "sort"),
        ("sort=", "sort"),
        ("sort=--name", "sort"),
        ("sort=name%20desc", "sort"),
        ("fields=parent_id", "fields"),
        ("fields=", "fields"),
        ("fields=*", "fields"),
        ("total=1", "total"),
        ("total=TRUE", "total"),
        ("limit=1&limit=2", "limit"),
        ("offset=0&offset=1", "offset"),
        ("search=a&search=b", "search"),
        ("page=2", "page"),
        ("=1", ""),
        ("colour=red", "colour"),
        ("colour=1.5", "colour"),
        ("colour=99999999999999999999", "colour"),
        ("colour=NaN", "colour"),
        ("credit=NaN", "credit"),
        ("credit=inf", "credit"),
        ("credit=1e999", "credit"),
        ("born=yesterday", "born"),
        ("born=2026-02-30", "born"),
        ("updated[gt]=now", "updated[gt]"),
        ("company=maybe", "company"),
        ("id=abc", "id"),
        ("id[in]=1,x", "id[in]"),
        ("name=%00", "name"),
        ("search=%00", "search"),
        ("search=a%00b", "search"),
    ],
)
def test_parameter_that_is_not_understood_is_400_and_named(gateway, assert_problem, query, named):
    document = assert_problem(gateway.call("GET", f"{LIST}?{query}", token="shop"), 400, "unknown-parameter")

    paths = [mistake.get("path") for mistake in document["errors"]]
    assert named in paths or named.partition("[")[0] in paths, document["errors"]


def test_every_wrong_parameter_is_named_at_once(gateway, assert_problem):
    query = "limit=0&offset=x&sort=nothing&unknown=1&total=maybe"

    answer = gateway.call("GET", f"{LIST}?{query}", token="shop")

    assert_problem(answer, 400, "unknown-parameter", paths=["limit", "offset", "sort", "unknown", "total"])


@pytest.mark.parametrize(
    "query", ["name=%ff", "name=%ed%a0%80", "%ff=1", "&".join(f"a{i}=1" for i in range(200)), "search=%c0%af"]
)
def test_query_that_is_no_text_or_endless_is_400(gateway, assert_problem, query):
    assert_problem(gateway.call("GET", f"{LIST}?{query}", token="shop"), 400, "unknown-parameter")


TEXTS = [
    "' OR '1'='1",
    "'; DROP TABLE res_partner; --",
    "1) OR (1=1",
    "\\",
    "%",
    "_",
    "%%",
    '"',
    "[('id','>',0)]",
    '[["id",">",0]]',
    "|",
    "&",
    "!",
    "(1,=,1)",
    "{partner.contact}",
    "{client}",
    "${7*7}",
    "{{7*7}}",
    "%(x)s",
    "%s",
    "é",
    "\u202e",
    "😀",
    "x" * 1000,
    "child_of",
    "False",
    "None",
    "\r\nX-Evil: 1",
    "\t",
    "<script>alert(1)</script>",
    "../../etc/passwd",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("parameter", ["search", "name", "name[like]", "name[in]"])
def test_text_of_any_kind_is_only_text(gateway, erp, text, parameter):
    answer = gateway.call("GET", f"{LIST}?{parameter}={quote(text)}&limit=100", token="shop")

    assert answer.status == 200, answer.body
    assert answer.header("x-evil") is None
    parents = {erp.read("res.partner", record["id"], "parent_id")["parent_id"][0] for record in answer.data}
    assert parents <= {AZURE}


@pytest.mark.parametrize("text", ["' OR '1'='1", "[('id','>',0)]", "{partner.contact}", "|"])
def test_search_text_that_looks_like_code_finds_nothing(gateway, text):
    answer = gateway.call("GET", f"{LIST}?search={quote(text)}", token="shop")

    assert answer.data == []


@pytest.mark.parametrize(
    "key",
    [
        "abc",
        "0",
        "-1",
        "1.5",
        "1e3",
        "99999999999",
        "9" * 20,
        "9" * 500,
        "NaN",
        "true",
        "null",
        "26,27",
        "26%20",
        "%2026",
        "26%0926",
        "0x1A",
        "%D9%A2%D9%A6",
        "26)",
        "'26'",
        "[26]",
        "+26",
        "id",
        "é".encode().hex(),
    ],
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_id_that_is_no_record_is_404(gateway, erp, assert_problem, key, method):
    answer = gateway.call(method, f"{LIST}/{key}", token="shop")

    erp.read("res.partner", 26, "id")
    if answer.status == 400:
        assert_problem(answer, 400, "bad-request")
    else:
        assert_problem(answer, 404, "record-not-found")


@pytest.mark.parametrize(
    "key",
    ["nothing", "' OR 1=1 --", "%", "AZ-100_", "az-1001", "AZ-1001 ", "False", "x" * 500, "née"],
)
@pytest.mark.parametrize("target", ["/v1/orders/{}", "/v1/orders/{}/confirm"])
def test_reference_of_no_order_is_404(gateway, assert_problem, key, target):
    method = "POST" if target.endswith("confirm") else "GET"

    assert_problem(gateway.call(method, target.format(quote(key)), token="shop"), 404, "record-not-found")


def test_deleted_record_is_404(gateway, erp, name, assert_problem):
    contact = erp.contact(AZURE, f"Gone {name}")
    assert gateway.call("DELETE", f"{LIST}/{contact}", token="shop").status == 204

    for method in ("GET", "DELETE"):
        assert_problem(gateway.call(method, f"{LIST}/{contact}", token="shop"), 404, "record-not-found")


def test_pages_lead_through_the_whole_list(gateway):
    seen, target = [], f"{LIST}?sort=-name&limit=2&search=stand-in&name[like]=%28stand-in%29"
    for _ in range(10):
        answer = gateway.call("GET", target, token="shop")
        assert answer.status == 200, answer.body
        seen += [record["id"] for record in answer.data]
        following = answer.json()["meta"]["pagination"]["next"]
        if following is None:
            break
        assert following.startswith("http://gateway.test/v1/contacts?")
        target = following.removeprefix("http://gateway.test")

    assert set(seen) >= {26, 27, 33}
    assert len(seen) == len(set(seen))


def test_page_without_a_limit_has_the_endpoints_default(gateway):
    answer = gateway.call("GET", LIST, token="shop")

    assert len(answer.data) == 2


def test_record_with_chosen_fields_has_only_those(gateway):
    answer = gateway.call("GET", f"{LIST}/26?fields=name,id", token="shop")

    assert set(answer.data) == {"id", "name"}


@pytest.mark.parametrize("query", ["limit=1", "unknown=1", "fields=nothing"])
def test_single_record_refuses_what_only_lists_know(gateway, assert_problem, query):
    assert_problem(gateway.call("GET", f"{LIST}/26?{query}", token="shop"), 400, "unknown-parameter")
