from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from odoo_support import PARTNERS, caller, scripted, upstream

from entrepot import errors
from entrepot.connectors.base import Field, ModelMapping
from entrepot.connectors.odoo.connector import OdooConnector

MADE = 50
PEOPLE = ModelMapping("res.partner", (Field("reference", ("ref",)), Field("name", ("name",))), key="reference")


class Odoo:
    """Makes record 50, and tells of others with its key: of *others* in turn after the load, of none before."""

    def __init__(self, *others, earlier=False, key_kept=True):
        self.others = list(others)
        self.earlier = earlier
        self.key_kept = key_kept
        self.methods = []

    def __call__(self, request):
        if request["params"]["service"] == "common":
            return {"result": 2}
        *_, method, args, kwargs = request["params"]["args"]
        self.methods.append(method)
        return {"result": getattr(self, method)(args, kwargs)}

    def load(self, args, kwargs):
        return {"ids": [MADE], "messages": []}

    def unlink(self, args, kwargs):
        assert args == [[MADE]]
        return True

    def xmlid_to_res_id(self, args, kwargs):
        return MADE if self.earlier else False

    def search_read(self, args, kwargs):
        if kwargs["fields"] != ["id"]:
            return [{"id": MADE, "ref": "R", "name": "x"}]
        if "load" not in self.methods:
            return [{"id": MADE}] if self.earlier else []
        others = self.others.pop(0) if len(self.others) > 1 else self.others[0]
        return [{"id": number} for number in sorted({*others, *([MADE] if self.key_kept else [])})]


def create(odoo, seconds=20.0):
    async def main():
        async with scripted(odoo) as post:
            work = OdooConnector(upstream(), post).create
            return await work(PEOPLE, {"reference": "R", "name": "x"}, caller(seconds=seconds))

    return asyncio.run(main())


def test_record_that_is_alone_with_its_key_stays():
    odoo = Odoo([])

    assert create(odoo) == {"reference": "R", "name": "x"}
    assert "unlink" not in odoo.methods


def test_younger_of_two_records_is_deleted_again():
    odoo = Odoo([49])

    with pytest.raises(errors.Conflict) as caught:
        create(odoo)

    assert [mistake.path for mistake in caught.value.errors] == ["/reference"]
    assert odoo.methods.count("unlink") == 1


def test_older_record_waits_for_the_younger_to_go():
    odoo = Odoo([51, 52], [51], [])

    assert create(odoo)["reference"] == "R"
    assert "unlink" not in odoo.methods


def test_older_record_goes_when_the_younger_stays():
    odoo = Odoo([51])

    with pytest.raises(errors.Conflict):
        create(odoo, seconds=1.3)

    assert odoo.methods.count("unlink") == 1


def test_record_of_an_earlier_attempt_is_never_deleted():
    odoo = Odoo([49], earlier=True)

    assert create(odoo)["reference"] == "R"
    assert "unlink" not in odoo.methods


def test_record_whose_key_was_changed_since_stands_in_nobodys_way():
    odoo = Odoo([49], key_kept=False)

    assert create(odoo)["reference"] == "R"
    assert "unlink" not in odoo.methods


def test_record_without_a_key_of_its_own_is_not_looked_for():
    odoo = Odoo([49])

    async def main():
        async with scripted(odoo) as post:
            mapping = replace(PARTNERS, fields=PEOPLE.fields)
            await OdooConnector(upstream(), post).create(mapping, {"reference": "R"}, caller())

    asyncio.run(main())

    assert odoo.methods == ["load", "search_read"]
