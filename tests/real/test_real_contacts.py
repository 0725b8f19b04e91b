"""Contacts through the gateway, each answer compared with what Odoo itself says."""

import base64
import json
import zlib
from struct import pack
from urllib.parse import quote, urlsplit
from uuid import uuid4

import pytest

pytestmark = pytest.mark.odoo

ASKED = [
    "name", "email", "phone", "function", "comment", "color", "partner_latitude", "date",
    "signup_expiration", "employee", "active", "type", "user_id", "country_id", "category_id", "image_1920",
    "parent_id", "write_date",
]  # fmt: skip
NASTY = "  lead \"double\" 'single' \\ line\nnext\ttab é中😀\u202e %s {x} <b>&amp;</b> ; -- trail"


def png() -> str:
    """Return the smallest picture of one pixel, as base64."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))

    parts = [chunk(b"IHDR", pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)), chunk(b"IDAT", zlib.compress(bytes(4)))]
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")).decode()


def moment(text):
    return f"{text[:10]}T{text[11:]}Z" if text else None


def said(odoo, record_id: int) -> dict:
    """Return the contact as Odoo tells it, in public terms."""
    row = odoo.read("res.partner", record_id, *ASKED)
    country = row["country_id"] and odoo.read("res.country", row["country_id"][0], "code")["code"]
    return {
        "id": record_id,
        "name": row["name"],
        "email": row["email"] or None,
        "phone": row["phone"] or None,
        "job": row["function"] or None,
        "note": row["comment"] or None,
        "colour": row["color"],
        "latitude": row["partner_latitude"],
        "born": row["date"] or None,
        "until": moment(row["signup_expiration"]),
        "employee": row["employee"],
        "active": row["active"],
        "kind": row["type"] or None,
        "seller": row["user_id"][0] if row["user_id"] else None,
        "country": country or None,
        "tags": row["category_id"],
        "image": row["image_1920"] or None,
        "owner": row["parent_id"][0],
        "updated": moment(row["write_date"]),
    }


@pytest.fixture
def tags(odoo, mark):
    made = odoo.call("res.partner.category", "create", [{"name": f"{mark}-{number}"} for number in range(2)])
    yield made
    odoo.remove("res.partner.category", ["id", "in", made])


@pytest.fixture
def contact(gateway, odoo, mark):
    """A contact made through the gateway."""
    answer = gateway.call_json("POST", "/v1/contacts", {"name": mark, "email": "a@example.com"}, token="ours")
    assert answer.status == 201, answer.body
    yield answer.data
    odoo.remove("res.partner", ["id", "=", answer.data["id"]])


@pytest.fixture(scope="module")
def a_dozen(odoo, ours):
    """Eleven contacts, and one more that is archived."""
    mark = uuid4().hex
    made = odoo.call("res.partner", "create", [
        {"name": f"{mark} {number:02}", "parent_id": ours.id, "type": "other", "color": number % 3,
         "email": f"{number}@example.com", "partner_latitude": number * 1.5, "active": number < 11,
         "date": f"2026-01-{number + 1:02}" if number % 2 else False}
        for number in range(12)
    ])  # fmt: skip
    yield made[:-1]
    odoo.remove("res.partner", ["id", "in", made])


def follow(gateway, target):
    """Return the records of all pages from *target* on, by the links that the gateway gives."""
    found = []
    while target:
        answer = gateway.call("GET", target, token="ours")
        assert answer.status == 200, answer.body
        found += answer.data
        following = answer.json()["meta"]["pagination"]["next"]
        target = following and following.removeprefix(_origin(following))
    return found


def _origin(link):
    parts = urlsplit(link)
    return f"{parts.scheme}://{parts.netloc}"


def test_links_lead_to_every_record_that_odoo_counts(gateway, odoo, ours, a_dozen):
    wanted = odoo.call("res.partner", "search_count", [["parent_id", "=", ours.id]])

    found = follow(gateway, "/v1/contacts?limit=5&total=true")
    first = gateway.call("GET", "/v1/contacts?limit=5&total=true", token="ours").json()

    assert len(found) == wanted == first["meta"]["total"]
    assert {row["id"] for row in found} >= set(a_dozen)
    assert [row["id"] for row in found] == sorted(row["id"] for row in found)
    assert len(first["data"]) == 5
    assert first["meta"]["pagination"]["prev"] is None


def test_links_lead_back_to_the_first_page(gateway, a_dozen):
    offset, pages = 9, []
    target = f"/v1/contacts?limit=4&offset={offset}"
    while target:
        answer = gateway.call("GET", target, token="ours").json()
        pages.append([row["id"] for row in answer["data"]])
        previous = answer["meta"]["pagination"]["prev"]
        target = previous and previous.removeprefix(_origin(previous))

    assert (
        pages[-1]
        == [row["id"] for row in gateway.call("GET", "/v1/contacts?limit=4", token="ours").data][: len(pages[-1])]
    )
    assert [len(page) for page in pages[1:-1]] == [4] * len(pages[1:-1])


def test_page_past_the_end_is_empty(gateway, a_dozen):
    answer = gateway.call("GET", "/v1/contacts?offset=2147483647&total=true", token="ours").json()

    assert answer["data"] == []
    assert answer["meta"]["pagination"]["next"] is None
    assert answer["meta"]["total"] >= len(a_dozen)


@pytest.mark.parametrize(
    ("query", "domain"),
    [
        ("colour=1", [["color", "=", 1]]),
        ("colour[ne]=1", [["color", "!=", 1]]),
        ("colour[in]=0,2", [["color", "in", [0, 2]]]),
        ("latitude[ge]=3&latitude[lt]=9", [["partner_latitude", ">=", 3], ["partner_latitude", "<", 9]]),
        ("born[gt]=2026-01-04", [["date", ">", "2026-01-04"]]),
        ("born=null", [["date", "=", False]]),
        ("email[like]=1@EXAMPLE", [["email", "ilike", "1@EXAMPLE"]]),
        ("email[like]=%25", [["email", "ilike", r"\%"]]),
        ("kind=other", [["type", "=", "other"]]),
        ("country=BE", [["country_id.code", "=", "BE"]]),
        ("country=null", [["country_id.code", "=", "null"]]),
        ("active=false", [["active", "=", False]]),
        ("search=01", ["|", ["name", "ilike", "01"], ["email", "ilike", "01"]]),
        ("updated[le]=2099-01-01T00:00:00%2B02:00", [["write_date", "<=", "2098-12-31 22:00:00"]]),
    ],
)  # fmt: skip
def test_filter_finds_what_odoo_finds(gateway, odoo, ours, a_dozen, query, domain):
    theirs = [["parent_id", "=", ours.id]]
    wanted = odoo.call("res.partner", "search", [*theirs, *domain], order="id")

    answer = gateway.call("GET", f"/v1/contacts?{query}&limit=100&fields=id&total=true", token="ours")

    assert answer.status == 200, answer.body
    assert answer.data == [{"id": number} for number in wanted]
    assert answer.json()["meta"]["total"] == len(wanted)


@pytest.mark.parametrize(
    ("sort", "order"), [("name", "name, id"), ("-name", "name desc, id"), ("-colour,name", "color desc, name, id"),
                        ("colour,-id", "color, id desc")],
)  # fmt: skip
def test_order_is_that_of_odoo(gateway, odoo, ours, a_dozen, sort, order):
    wanted = odoo.call("res.partner", "search", [["parent_id", "=", ours.id]], order=order)

    found = gateway.call("GET", f"/v1/contacts?sort={sort}&limit=100&fields=id", token="ours")

    assert [row["id"] for row in found.data] == wanted


def test_fields_are_those_that_are_asked_for(gateway, a_dozen):
    listed = gateway.call("GET", "/v1/contacts?fields=name,country&limit=1", token="ours").data
    whole = gateway.call("GET", "/v1/contacts?limit=1", token="ours").data
    one = gateway.call("GET", f"/v1/contacts/{a_dozen[0]}?fields=name,image", token="ours").data

    assert [sorted(row) for row in listed] == [["country", "name"]]
    assert "image" not in whole[0]
    assert sorted(one) == ["image", "name"]


def test_listed_record_says_what_odoo_says(gateway, odoo, a_dozen):
    listed = gateway.call("GET", "/v1/contacts?limit=100", token="ours").data

    for row in listed:
        wanted = said(odoo, row["id"])
        wanted.pop("image")
        assert row == wanted


def test_new_contact_is_in_odoo_field_by_field(gateway, odoo, ours, tags):
    body = {
        "name": NASTY, "email": "é@example.com", "phone": "+32 2 555 01 00", "job": "0", "note": f"{NASTY}\r\n",
        "colour": -7, "latitude": -12.34568, "born": "2024-02-29",
        "until": "2026-07-31T23:30:00.75+02:00", "employee": True, "kind": "other", "seller": 2, "country": "BE",
        "tags": tags, "image": png(), "active": True,
    }  # fmt: skip

    answer = gateway.call_json("POST", "/v1/contacts", body, token="ours")

    assert answer.status == 201, answer.body
    made = answer.data
    try:
        assert made == said(odoo, made["id"])
        assert made["owner"] == ours.id
        assert {**made, "until": None} == {**made, **body, "until": None}
        assert made["until"] == "2026-07-31T21:30:00Z"
        read = gateway.call("GET", answer.header("location").removeprefix("http://gateway.test"), token="ours")
        assert read.data == made
    finally:
        odoo.remove("res.partner", ["id", "=", made["id"]])


def test_patch_changes_what_is_given_and_null_clears(gateway, odoo, contact, tags):
    target = f"/v1/contacts/{contact['id']}"
    first = {"phone": "1", "country": "FR", "tags": tags, "born": "2026-01-31", "seller": 2, "note": "x", "latitude": 5,
             "until": "2026-01-31T10:00:00Z", "image": png(), "kind": "other"}  # fmt: skip
    full = gateway.call_json("PATCH", target, first, token="ours")
    assert full.data == {**contact, **first, "updated": full.data["updated"]} == said(odoo, contact["id"])

    cleared = dict.fromkeys(("phone", "country", "born", "seller", "note", "until", "image", "email"))
    empty = gateway.call_json("PATCH", target, {**cleared, "tags": [], "latitude": 0}, token="ours")

    assert empty.status == 200, empty.body
    assert empty.data == said(odoo, contact["id"])
    assert [empty.data[name] for name in cleared] == [None] * len(cleared)
    assert (empty.data["tags"], empty.data["latitude"], empty.data["name"]) == ([], 0.0, contact["name"])


def test_merge_patch_media_type_is_taken(gateway, odoo, contact):
    body = json.dumps({"job": "m"}).encode()
    lines = ("Content-Type: application/merge-patch+json",)

    answer = gateway.call("PATCH", f"/v1/contacts/{contact['id']}", *lines, token="ours", body=body)

    assert (answer.status, answer.data["job"]) == (200, "m")


def test_if_match_of_an_old_state_changes_nothing(gateway, odoo, contact):
    target = f"/v1/contacts/{contact['id']}"
    tag = gateway.call("GET", target, token="ours").header("etag")
    odoo.call("res.partner", "write", [contact["id"]], {"function": "changed past the gateway"})

    refused = gateway.call_json("PATCH", target, {"phone": "2"}, f"If-Match: {tag}", token="ours")
    now = gateway.call("GET", target, token="ours").header("etag")
    taken = gateway.call_json("PATCH", target, {"phone": "3"}, f"If-Match: {now}", token="ours")

    assert (refused.status, refused.json()["code"]) == (412, "precondition-failed")
    assert taken.status == 200, taken.body
    assert odoo.read("res.partner", contact["id"], "phone", "function") == {
        "id": contact["id"], "phone": "3", "function": "changed past the gateway",
    }  # fmt: skip


def test_etag_of_an_unchanged_record_is_not_modified(gateway, contact):
    target = f"/v1/contacts/{contact['id']}"
    tag = gateway.call("GET", target, token="ours").header("etag")

    again = gateway.call("GET", target, f"If-None-Match: {tag}", token="ours")

    assert (again.status, again.body, again.header("etag")) == (304, b"", tag)


def test_deleted_contact_is_gone_from_odoo(gateway, odoo, contact):
    target = f"/v1/contacts/{contact['id']}"

    assert gateway.call("DELETE", target, token="ours").status == 204

    assert odoo.search("res.partner", ["id", "=", contact["id"]]) == []
    assert gateway.call("DELETE", target, token="ours").status == 404
    assert gateway.call("GET", target, token="ours").status == 404


def test_archived_contact_is_not_there(gateway, odoo, contact):
    target = f"/v1/contacts/{contact['id']}"

    archived = gateway.call_json("PATCH", target, {"active": False}, token="ours")

    assert (archived.status, archived.data) == (200, said(odoo, contact["id"]))
    assert archived.data["active"] is False
    assert gateway.call("GET", target, token="ours").status == 404
    assert gateway.call_json("PATCH", target, {"active": True}, token="ours").status == 404


def test_archived_contact_is_there_when_the_context_says_so(gateway, odoo, ours, mark):
    made = ours.contact("A", ref=mark, active=False)
    place = f"/v1/people/{mark}"

    read = gateway.call("GET", place, token="ours")
    listed = gateway.call("GET", f"/v1/people?reference={mark}", token="ours")
    second = gateway.call_json("POST", "/v1/people", {"reference": mark, "name": "B"}, token="ours")
    back = gateway.call_json("PATCH", place, {"active": True}, token="ours")

    assert (read.status, read.data["active"]) == (200, False)
    assert listed.data == [read.data]
    assert second.status == 409, second.body
    assert (back.status, back.data["active"]) == (200, True)
    assert odoo.read("res.partner", made, "active")["active"] is True


def test_partners_own_reference_is_the_key(gateway, odoo, ours, mark):
    reference = f"{mark} é/ü?#%"
    place = f"/v1/people/{quote(mark)}"

    made = gateway.call_json("POST", "/v1/people", {"reference": mark, "name": "A"}, token="ours")
    read = gateway.call("GET", place, token="ours")
    changed = gateway.call_json("PATCH", place, {"name": "B"}, token="ours")
    moved = gateway.call_json("PATCH", place, {"reference": reference}, token="ours")
    found = gateway.call("GET", f"/v1/people/{quote(reference, safe='')}", token="ours")
    gone = gateway.call("DELETE", f"/v1/people/{quote(reference, safe='')}", token="ours")

    assert made.header("location").endswith(place)
    assert [answer.status for answer in (made, read, changed, moved, found, gone)] == [201, 200, 200, 200, 200, 204]
    assert found.data["name"] == "B"
    assert odoo.search("res.partner", ["ref", "in", [mark, reference]]) == []


def test_html_goes_in_and_out_as_odoo_keeps_it(gateway, odoo, mark):
    page = '<p>é 中 😀 <b>bold</b></p><script>alert(1)</script><a href="javascript:alert(1)" onclick="x()">x</a>'

    made = gateway.call_json("POST", "/v1/letters", {"name": mark, "page": page}, token="ours")

    assert made.status == 201, made.body
    kept = odoo.read("mail.template", made.data["id"], "name", "body_html")
    assert made.data == {"id": made.data["id"], "name": mark, "page": kept["body_html"]}
    changed = gateway.call_json("PATCH", f"/v1/letters/{made.data['id']}", {"page": "<i>1</i>"}, token="ours")
    assert changed.data["page"] == odoo.read("mail.template", made.data["id"], "body_html")["body_html"]
    assert gateway.call("DELETE", f"/v1/letters/{made.data['id']}", token="ours").status == 204
