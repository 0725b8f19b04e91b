"""The commands at work on a store: catalog, tokens, status; the ERP is the stand-in."""

import json

import pytest
from program_support import write_settings

from entrepot.standin.server import StandIn

CATALOG = """
upstreams:
  erp: {{kind: odoo, url: "{url}", database: standin, login: gateway, secret: "file:{secret}"}}
endpoints:
  contacts:
    path: /v1/contacts
    upstream: erp
    model: res.partner
    fields: {{name: name, country: country_id.code}}
    scopes: {{read: contacts.read}}
partners:
  azure: {{name: Azure, clients: {{shop: {{scopes: [contacts.read, contacts.write]}}}}}}
"""


@pytest.fixture(scope="module")
def erp(tmp_path_factory):
    with StandIn(tmp_path_factory.mktemp("erp"), password="secret") as erp:
        yield erp


@pytest.fixture(scope="module")
def home(tmp_path_factory, erp):
    """A directory with settings, an empty store and catalog files."""
    home = tmp_path_factory.mktemp("home")
    write_settings(home)
    (home / "secret").write_text("secret\n")
    (home / "catalog.yaml").write_text(CATALOG.format(url=erp.url, secret=home / "secret"))
    return home


@pytest.fixture(scope="module")
def applied(entrepot, home):
    """The program on a store in which the catalog is in force."""

    def run(*arguments, **more):
        return entrepot("--settings", home / "entrepot.ini", *arguments, **more)

    done = run("apply", home / "catalog.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "revision 1 is in force"
    return run


def test_a_token_is_issued_revoked_and_listed(applied):
    token = applied("token", "issue", "shop", "--expires", "30m", "--scope", "contacts.read")
    revoked = applied("token", "revoke", "-", "--json", stdin=token.stdout)
    listed = applied("token", "list", "--json")

    assert token.stdout.count("\n") == 1
    assert token.stdout.count(".") == 2
    assert (revoked.returncode, revoked.stderr) == (0, "")
    answer = json.loads(revoked.stdout)
    assert (answer["kind"], answer["new"], answer["stored"]) == ("jti", True, True)
    (row,) = [row for row in json.loads(listed.stdout) if row["jti"] == answer["value"]]
    assert (row["client"], row["state"], row["scopes"]) == ("shop", "revoked", "contacts.read")


@pytest.mark.slow
def test_a_token_can_be_revoked_without_a_database(applied, home):
    token = applied("token", "issue", "shop").stdout.strip()
    database = home / "store" / "entrepot.db"
    kept = database.read_bytes()
    database.write_bytes(b"this is no database" * 1000)
    try:
        revoked = applied("token", "revoke", token)
        issued = applied("token", "issue", "shop")
    finally:
        database.write_bytes(kept)

    assert revoked.returncode == 0
    assert revoked.stdout.startswith("revoked: token ")
    assert revoked.stderr == "the revocation is in force, but the database is away and does not know of it\n"
    assert (issued.returncode, issued.stdout) == (1, "")


@pytest.mark.slow
def test_all_tokens_that_were_issued_before_a_time_are_revoked(applied):
    issued = json.loads(applied("token", "issue", "shop", "--json").stdout)
    early = applied("token", "revoke", "--all", "--before", "1h")
    late = applied("token", "revoke", "--all", "--json")
    states = {row["jti"]: row["state"] for row in json.loads(applied("token", "list", "--json").stdout)}

    assert early.stdout.startswith("revoked: all tokens and API keys issued before 20")
    assert json.loads(late.stdout) == {"kind": "all", "value": "", "new": True, "stored": True}
    assert states[issued["jti"]] == "revoked"
    assert applied("token", "issue", "shop").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["token", "issue", "nobody"], 1, "no client 'nobody'; it has: shop"),
        (["token", "issue", "shop", "--scope", "admin"], 1, "does not have the scope 'admin'"),
        (["token", "issue", "shop", "--expires", "soon"], 2, "neither a duration such as 12h nor a time"),
        (["token", "issue", "shop", "--expires", "2020-01-01T00:00:00Z"], 2, "must be from one second"),
        (["token", "revoke", "not-a-token"], 1, "token"),
        (["token", "revoke", "-"], 2, "no token on standard input"),
        (["token", "revoke", "--before", "1h", "--jti", "x"], 2, "goes with --client, --partner or --all"),
        (["token", "revoke", "--before", "2100-01-01T00:00Z", "--all"], 2, "must be in the past"),
        (["token", "revoke", "--before", "soon", "--all"], 2, "neither a duration"),
        (["token", "revoke", "--all", "--client", "shop"], 2, "not allowed with"),
        (["token", "revoke", "--client", "shopp"], 0, "no client 'shopp'"),
        (["endpoint", "fields", "crm", "res.partner"], 1, "no Odoo upstream 'crm'"),
        (["endpoint", "fields", "erp", "no.such"], 1, ""),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(applied, arguments, code, complaint):
    done = applied(*arguments)

    assert done.returncode == code
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert "this should not have happened" not in done.stderr
    assert code == 2 or done.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_catalog_is_compared_brought_in_and_written_out(applied, home, tmp_path):
    again = applied("apply", home / "catalog.yaml", "--json")
    exported = applied("export")
    copy = tmp_path / "copy.yaml"
    copy.write_text(exported.stdout)
    same = applied("diff", copy)
    copy.write_text(exported.stdout.replace("/v1/contacts", "/v2/contacts"))
    other = applied("diff", copy)

    assert (json.loads(again.stdout)["new"], json.loads(again.stdout)["revision"]) == (False, 1)
    assert same.stdout == "no difference\n"
    assert "/v2/contacts" in other.stdout
    assert other.stdout.startswith("~ endpoints.contacts")


@pytest.mark.slow
def test_a_wrong_catalog_changes_nothing_and_every_mistake_has_its_line(applied, home, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text((home / "catalog.yaml").read_text().replace("name: name,", "name: nam, colour: paint,"))

    done = applied("apply", path)

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 2
    assert all(line.startswith(f"{path}:9: ") for line in done.stderr.splitlines())
    assert json.loads(applied("status", "--json").stdout)["revision"] == 1


@pytest.mark.slow
def test_fields_of_the_live_erp_are_listed(applied):
    table = applied("endpoint", "fields", "erp", "sale.order")
    document = json.loads(applied("endpoint", "fields", "erp", "sale.order", "--json").stdout)

    assert table.stdout.splitlines()[0].split() == [
        "field",
        "type",
        "required",
        "read",
        "only",
        "relation",
        "or",
        "choices",
    ]
    assert document["order_line"]["relation"] == "sale.order.line"


@pytest.mark.slow
def test_status_speaks_for_the_store_when_no_gateway_runs(applied):
    done = applied("status", "--json")

    found = json.loads(done.stdout)
    assert (found["revision"], found["endpoints"], found["clients"]) == (1, 1, 1)
    assert found["gateway"] == {"address": "127.0.0.1:1", "answers": False}
    assert found["couriers"] == 0
