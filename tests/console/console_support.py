"""Those who ask the console: a script with a token, and a browser with a cookie."""

from argon2 import PasswordHasher

from entrepot.identity.passwords import Passwords
from entrepot.store.audit import Actor, Wanted, entries

PASSWORD = "correct horse battery"
# What they cost in earnest, a fifth of a second each, is seen to in tests/identity/test_operators.py.
CHEAP = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
ROOT = Actor("root (command line)", "command", "an-operation-id")
HERE = "http://127.0.0.1:8081"
CATALOG = """
upstreams:
  erp: {kind: http, url: "http://127.0.0.1:1"}
endpoints:
  orders:
    path: /v1/orders
    upstream: erp
    relay: /orders
    methods: [GET, POST]
    scopes: {read: orders.read, write: orders.write}
partners:
  azure:
    name: Azure
    clients:
      shop: {scopes: [orders.read, orders.write], api_keys: true}
      till: {scopes: [orders.read]}
"""


class Script:
    """Asks with the token of a session."""

    def __init__(self, app, name=None):
        self.client = app.test_client(use_cookies=False)
        self.headers = {}
        if name is not None:
            signed = self.post("/session", name=name, password=PASSWORD, cookie=False)
            assert signed.status_code == 201, signed.text
            self.token = signed.json["data"]["token"]
            self.headers = {"Authorization": f"Bearer {self.token}"}

    def ask(self, method, path, *, headers=(), base=HERE, **more):
        return self.client.open(
            f"/api/v1{path}", method=method, base_url=base, headers={**self.headers, **dict(headers)}, **more
        )

    def get(self, path, **query):
        return self.ask("GET", path, query_string=query)

    def post(self, path, **body):
        return self.ask("POST", path, json=body)

    def put(self, path, **body):
        return self.ask("PUT", path, json=body)

    def delete(self, path):
        return self.ask("DELETE", path)


class Browser(Script):
    """Asks with the cookie of a session, and with its CSRF token, unless the test takes that away."""

    def __init__(self, app):
        super().__init__(app)
        self.client = app.test_client()

    def sign_in(self, name):
        signed = self.post("/session", name=name, password=PASSWORD)
        assert signed.status_code == 201, signed.text
        self.headers = {"X-CSRF-Token": signed.json["data"]["csrf_token"]}
        return signed

    @property
    def cookie(self):
        found = self.client.get_cookie("entrepot-session", domain="127.0.0.1")
        return found and found.value


def audited(services, **wanted):
    """Return the entries of the audit log, the latest first."""
    with services.database.reading() as session:
        return entries(session, Wanted(**wanted), 100)


def code(answer):
    """Return status and code of a problem, whose form is checked."""
    problem = answer.get_json(force=True)
    assert answer.content_type == "application/problem+json"
    assert problem["status"] == answer.status_code
    assert problem["meta"]["operation_id"] == answer.headers["X-Request-Id"]
    return answer.status_code, problem["code"]
