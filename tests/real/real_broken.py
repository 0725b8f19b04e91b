"""Fixtures of the tests that break an Odoo: it, what is asked of it past the gateway, and a company of their own."""

from uuid import uuid4

import pytest
from real_machine import Machine
from real_odoo import Company, Odoo


@pytest.fixture(scope="module")
def machine():
    """The Odoo that may be stopped and killed; it runs at the beginning and at the end."""
    machine = Machine()
    machine.url = machine.up()
    yield machine
    machine.up()


@pytest.fixture(scope="module")
def erp(machine):
    """What that Odoo says itself."""
    given = Odoo.from_environment()
    return Odoo(machine.url, database=given.database, login=given.login, password=given.password)


@pytest.fixture(scope="module")
def company(machine, erp):
    """The company that the calling partner stands for."""
    company = Company(erp, uuid4().hex)
    yield company
    machine.up()
    company.clear()
