"""What Odoo itself says, past the gateway: JSON-RPC on the account that ODOO_URL, ODOO_DATABASE, ODOO_LOGIN name."""

import json
import os
from urllib.request import Request, urlopen


class OdooError(AssertionError):
    """An exception inside Odoo; its text is Odoo's own."""


class Odoo:
    """One database of an Odoo 14, without any gateway in between."""

    def __init__(self, url: str, *, database: str, login: str, password: str):
        self.url = url
        self.database = database
        self.login = login
        self.password = password
        self._uid = 0

    @classmethod
    def from_environment(cls) -> "Odoo":
        """Return the Odoo that the environment names, by default the one of ``odoo-up``."""
        return cls(
            os.environ.get("ODOO_URL", "http://127.0.0.1:8069"),
            database=os.environ.get("ODOO_DATABASE", "demo"),
            login=os.environ.get("ODOO_LOGIN", "admin"),
            password=os.environ.get("ODOO_PASSWORD", "admin"),
        )

    def call(self, model: str, method: str, *args, **kwargs):
        """Return what *method* of *model* answers. Raises OdooError."""
        if not self._uid:
            self._uid = self._ask("common", "authenticate", [self.database, self.login, self.password, {}])
            assert self._uid, f"{self.url} refuses the login of {self.login}"
        account = [self.database, self._uid, self.password]
        return self._ask("object", "execute_kw", [*account, model, method, list(args), kwargs])

    def read(self, model: str, record_id: int, *fields: str) -> dict:
        """Return *fields* of one record; AssertionError when it is not there."""
        rows = self.call(model, "read", [record_id], list(fields))
        assert rows, f"{model} {record_id} is not there"
        return rows[0]

    def search(self, model: str, *domain, **kwargs) -> list[int]:
        """Return the ids of the records in *domain*, archived ones too."""
        return self.call(model, "search", list(domain), context={"active_test": False}, **kwargs)

    def remove(self, model: str, *domain) -> None:
        """Delete the records in *domain*, if there are any."""
        if found := self.search(model, *domain):
            self.call(model, "unlink", found)

    def _ask(self, service: str, method: str, args: list):
        params = {"service": service, "method": method, "args": args}
        document = {"jsonrpc": "2.0", "id": 1, "method": "call", "params": params}
        question = Request(
            f"{self.url}/jsonrpc", json.dumps(document).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        with urlopen(question, timeout=60) as answer:
            found = json.load(answer)
        if "error" in found:
            raise OdooError(found["error"]["data"]["message"])
        return found.get("result")


class Company:
    """A company of its own in Odoo, with what belongs to it: nobody else changes its records.

    *mark* is a text that no other record has. *cleared* deletes all of it.
    """

    def __init__(self, odoo: Odoo, mark: str):
        self.odoo = odoo
        self.mark = mark
        self.id = odoo.call("res.partner", "create", {"name": f"Company {mark}", "is_company": True})

    def contact(self, name: str, **values) -> int:
        """Make a contact of the company and return its id."""
        return self.odoo.call("res.partner", "create", {"name": name, "parent_id": self.id, **values})

    def order(self, reference: str, product: int, **values) -> int:
        """Make a draft order of one *product* and return its id."""
        line = [0, 0, {"product_id": product, "product_uom_qty": 2}]
        order = {"partner_id": self.id, "client_order_ref": reference, "order_line": [line], **values}
        return self.odoo.call("sale.order", "create", order)

    def clear(self) -> None:
        """Delete its orders, deliveries and contacts, and then itself."""
        theirs = ["partner_id", "child_of", self.id]
        confirmed = self.odoo.search("sale.order", theirs, ["state", "in", ["sale", "done"]])
        if confirmed:
            self.odoo.call("sale.order", "action_cancel", confirmed)
        self.odoo.remove("stock.picking", theirs)
        self.odoo.remove("sale.order", theirs)
        self.odoo.remove("mail.template", ["email_from", "=", self.mark])
        self.odoo.remove("res.partner", ["parent_id", "=", self.id])
        self.odoo.remove("res.partner", ["id", "=", self.id])
