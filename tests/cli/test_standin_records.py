"""Records of the stand-in: domains, orders, lines, external ids."""

import pytest

from entrepot.standin.calls import Calls
from entrepot.standin.database import Database
from entrepot.standin.firstdata import fill


@pytest.fixture
def ask(tmp_path):
    database = Database(tmp_path)
    fill(database)
    calls = Calls(database, name="erp", login="gateway", password="secret")

    def ask(model, method, *args, **kwargs):
        params = {
            "service": "object",
            "method": "execute_kw",
            "args": ["erp", 2, "secret", model, method, args, kwargs],
        }
        answer = calls.answer({"id": 1, "params": params})
        if "error" in answer:
            raise AssertionError(f"{answer['error']['data']['name']}: {answer['error']['data']['message']}")
        return answer.get("result")

    yield ask
    database.close()


@pytest.mark.parametrize(
    ("domain", "ids"),
    [
        ([["id", "=", 14]], [14]),
        ([["id", "in", [14, 99]], ["is_company", "=", True]], [14]),
        (["|", ["id", "=", 9], ["id", "=", 14]], [14, 9]),
        (["!", ["id", "!=", 14]], [14]),
        (["&", "|", ["id", "=", 9], ["id", "=", 14], ["city", "=", "Fremont"]], [14]),
        ([["name", "ilike", "AZURE"], ["parent_id", "=", False]], [14]),
        ([["name", "like", "azure"]], []),
        ([["name", "=ilike", "azure interior (stand-in)"]], [14]),
        ([["parent_id.name", "ilike", "azure"]], [26, 33, 27]),
        ([["parent_id", "=", "Azure Interior (stand-in)"]], [26, 33, 27]),
        ([["child_ids.email", "=", "nicole.ford75@example.com"]], [14]),
        ([["country_id.code", "=", "XX"]], []),
        ([["id", "not in", [14]], ["parent_id", "=", 14], ["name", "not ilike", "nicole"]], [26, 33]),
        ([["phone", "=", False], ["parent_id", "=", 14]], [26, 33, 27]),
        ([["id", ">", 26], ["id", "<=", 33]], [33, 27]),
        ([["name", "=", "x' OR 1=1 --"]], []),
    ],
)
def test_domains_select_what_odoo_selects(ask, domain, ids):
    assert ask("res.partner", "search", domain) == ids


def test_archived_records_are_hidden_unless_asked_for(ask):
    ask("res.partner", "write", [14], {"active": False})

    assert ask("res.partner", "search", [["id", "=", 14]]) == []
    assert ask("res.partner", "search", [["id", "=", 14], ["active", "=", False]]) == [14]
    assert ask("res.partner", "search", [["id", "=", 14]], context={"active_test": False}) == [14]


def test_order_limit_and_offset_page_through_all(ask):
    everything = ask("res.partner", "search", [], order="name desc, id")

    pages = [ask("res.partner", "search", [], offset=at, limit=5, order="name desc, id") for at in range(0, 20, 5)]

    assert [one for page in pages for one in page] == everything
    assert len(set(everything)) == len(everything) == 13


def test_load_with_noupdate_makes_a_record_once(ask):
    columns = ["id", "partner_id/.id", "client_order_ref", "order_line/product_id/.id", "order_line/product_uom_qty"]
    rows = [["gw.sale_order_1", "14", "WEB-1", "5", "2"], ["", "", "", "6", "1"]]
    context = {"mode": "update", "noupdate": True}

    first = ask("sale.order", "load", columns, rows, context=context)
    again = ask("sale.order", "load", columns, rows, context=context)

    assert first == again
    order = ask("sale.order", "read", first["ids"], ["order_line", "amount_total", "state"])[0]
    assert (len(order["order_line"]), order["amount_total"], order["state"]) == (2, 180.0, "draft")


def test_load_keeps_nothing_when_one_row_is_wrong(ask):
    rows = [["gw.a", "Good", "contact"], ["gw.b", "Bad", "zzz"]]

    answer = ask("res.partner", "load", ["id", "name", "type"], rows)

    assert answer["ids"] is False
    assert ask("res.partner", "search_count", [["name", "in", ["Good", "Bad"]]]) == 0


def test_the_key_of_a_deleted_record_is_free_again(ask):
    rows = [["gw.res_partner_1", "Once"]]
    first = ask("res.partner", "load", ["id", "name"], rows)["ids"]
    ask("res.partner", "unlink", first)

    second = ask("res.partner", "load", ["id", "name"], rows)["ids"]

    assert second != first
    assert ask("ir.model.data", "xmlid_to_res_id", "gw.res_partner_1") == second[0]


def test_a_confirmed_order_cannot_be_deleted_before_it_is_cancelled(ask):
    order = ask("sale.order", "create", {"partner_id": 14, "order_line": [[0, 0, {"product_id": 5}]]})
    ask("sale.order", "action_confirm", [order])

    with pytest.raises(AssertionError, match="You must first cancel it"):
        ask("sale.order", "unlink", [order])
    ask("sale.order", "action_cancel", [order])

    assert ask("sale.order", "unlink", [order]) is True
    assert ask("sale.order.line", "search_count", [["order_id", "=", order]]) == 0


def test_totals_follow_the_lines(ask):
    order = ask("sale.order", "create", {"partner_id": 14, "order_line": [[0, 0, {"product_id": 5}]]})
    line = ask("sale.order", "read", [order], ["order_line"])[0]["order_line"][0]

    ask("sale.order", "write", [order], {"order_line": [[1, line, {"product_uom_qty": 3}], [0, 0, {"product_id": 6}]]})

    assert ask("sale.order", "read", [order], ["amount_total"])[0]["amount_total"] == 250.0


def test_a_second_start_finds_the_records_of_the_first(tmp_path):
    first = Database(tmp_path)
    fill(first)
    first.close()

    second = Database(tmp_path)
    fill(second)

    assert second.ids("SELECT count(*) FROM sale_order") == [4]
    second.close()


def test_load_takes_booleans_as_text_only(ask):
    with pytest.raises(AssertionError, match="AttributeError: 'bool' object has no attribute 'lower'"):
        ask("res.partner", "load", ["id", "name", "is_company"], [["gw.c", "Typed", True]])

    assert ask("res.partner", "load", ["id", "name", "is_company"], [["gw.c", "Typed", "1"]])["messages"] == []
