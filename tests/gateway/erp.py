"""What the ERP itself says, past the gateway."""

import json
from urllib.request import Request, urlopen


class Erp:
    """Speaks JSON-RPC with the ERP at *url* on the gateway's own account."""

    def __init__(self, url: str, password: str):
        self.url = url
        self._password = password

    def call(self, model: str, method: str, *args, **kwargs):
        """Return what *method* of *model* answers."""
        params = ["standin", 2, self._password, model, method, list(args), kwargs]
        document = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "call",
            "params": {"service": "object", "method": "execute_kw", "args": params},
        }
        question = Request(
            f"{self.url}/jsonrpc", json.dumps(document).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        with urlopen(question, timeout=10) as answer:
            found = json.load(answer)
        assert "error" not in found, found["error"]["data"]["message"]
        return found.get("result")

    def read(self, model: str, record_id: int, *fields: str) -> dict:
        """Return *fields* of one record; AssertionError when it is not there."""
        rows = self.call(model, "read", [record_id], list(fields))
        assert rows, f"{model} {record_id} is not there"
        return rows[0]

    def order(self, partner: int, reference: str, product: int = 5) -> int:
        """Make a draft order of *partner* and return its id."""
        line = [0, 0, {"product_id": product, "product_uom_qty": 1}]
        return self.call(
            "sale.order", "create", {"partner_id": partner, "client_order_ref": reference, "order_line": [line]}
        )

    def contact(self, parent: int, name: str) -> int:
        """Make a contact of the company *parent* and return its id."""
        return self.call("res.partner", "create", {"name": name, "parent_id": parent})
