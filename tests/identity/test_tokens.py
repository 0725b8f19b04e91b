import json
import time
from base64 import urlsafe_b64decode
from uuid import UUID

import jwt
import pytest

from entrepot.errors import BadRequest, InvalidToken, TooManyRequests
from entrepot.identity.budget import FailureBudget
from entrepot.identity.keys import Keyring
from entrepot.identity.partners import Client
from entrepot.identity.revocation import Revocation, Switch
from entrepot.identity.tokens import MAX_LIFETIME_S, Verifier, issue, read


def wrong(token):
    """Return *token* with a signature that is never its own: the end of one is zeros now and then."""
    signed, _, signature = token.rpartition(b".")
    return signed + (b".B" if signature[:1] == b"A" else b".A") + signature[1:]


def part(token, number):
    text = token.split(b".")[number]
    return json.loads(urlsafe_b64decode(text + b"=" * (-len(text) % 4)))


def test_a_token_has_the_header_and_claims_of_rfc_9068(make_token, keyring, issuer, now):
    token = make_token(expires_s=3600)

    payload = part(token, 1)
    assert part(token, 0) == {"typ": "at+jwt", "alg": "EdDSA", "kid": keyring.current.kid}
    assert UUID(payload.pop("jti")).version == 4
    assert payload == {
        "iss": issuer,
        "aud": issuer,
        "sub": "shop",
        "client_id": "shop",
        "partner": "acme",
        "scope": "orders:read orders:write",
        "iat": now,
        "exp": now + 3600,
    }


def test_another_library_verifies_it(keyring, client, issuer):
    token = issue(keyring, client=client, scopes=(), issuer=issuer, audience=issuer, expires_s=60, now=time.time())

    claims = jwt.decode(token.token, keyring.public(token.kid), algorithms=["EdDSA"], audience=issuer, issuer=issuer)

    assert claims["jti"] == token.jti


def test_a_scope_that_the_client_lacks_is_refused_by_name(keyring, client, issuer, now):
    with pytest.raises(BadRequest, match=r"'shop' does not have the scope 'admin'.*orders:read, orders:write"):
        issue(keyring, client=client, scopes=["orders:read", "admin"], issuer=issuer, audience="", expires_s=9, now=now)


@pytest.mark.parametrize("expires_s", [0, 0.9, -1, MAX_LIFETIME_S + 1, float("nan"), float("inf")])
def test_a_lifetime_that_makes_no_sense_is_refused(make_token, expires_s):
    with pytest.raises(BadRequest):
        make_token(expires_s=expires_s)


def test_claims_say_who_may_do_what_until_when(verifier, make_token, now):
    claims = verifier.claims(make_token(), now)

    assert (claims.client, claims.partner) == ("shop", "acme")
    assert claims.scopes == {"orders:read", "orders:write"}
    assert (claims.issued_at, claims.expires_at) == (now, now + 3600)


def test_a_token_without_scopes_is_a_token(verifier, make_token, now):
    assert verifier.claims(make_token(Client("poor", "acme", frozenset())), now).scopes == frozenset()


def test_the_leeway_is_a_second_both_ways(verifier, make_token, now):
    token = make_token(expires_s=10)
    early = make_token(now=now + 1)

    assert verifier.claims(token, now + 10.9)
    assert verifier.claims(early, now)
    with pytest.raises(InvalidToken, match="expired"):
        verifier.claims(token, now + 11)
    with pytest.raises(InvalidToken, match="not valid yet"):
        verifier.claims(make_token(now=now + 2), now)


def test_a_verified_token_is_remembered_until_it_expires(verifier, make_token, now):
    token = make_token(expires_s=10)

    claims = verifier.claims(token, now)

    assert verifier.remembered.get(token) is claims is verifier.claims(token, now + 9)
    with pytest.raises(InvalidToken, match="expired"):
        verifier.claims(token, now + 3600)


def test_a_refused_token_is_not_remembered(verifier, make_token, now):
    token = wrong(make_token())

    with pytest.raises(InvalidToken, match="signature"):
        verifier.claims(token, now)

    assert verifier.remembered == {}
    assert verifier.refused == 1


def test_a_revocation_forgets_its_token_and_keeps_the_rest(verifier, revocations, make_token, now):
    tokens = [make_token() for _ in range(3)]
    jti = [verifier.claims(token, now).jti for token in tokens][1]

    revocations.add(Revocation("jti", jti, now, now + 3600))
    verifier.refresh()

    assert list(verifier.remembered) == [tokens[0], tokens[2]]
    with pytest.raises(InvalidToken, match="revoked"):
        verifier.claims(tokens[1], now)


def test_a_revocation_by_another_process_forgets_its_tokens(verifier, open_revocations, make_token, now):
    token = make_token()
    verifier.claims(token, now)

    open_revocations().add(Revocation("partner", "acme", now, now + 3600, cutoff=int(now)))
    verifier.refresh()

    with pytest.raises(InvalidToken, match="revoked"):
        verifier.claims(token, now)


class NoScan(dict):
    """Remembered tokens that may be looked up and not gone through."""

    def items(self):
        raise AssertionError("all remembered tokens were gone through")


def test_single_revocations_are_found_without_going_through_what_is_remembered(
    verifier, revocations, open_revocations, make_token, now
):
    tokens = [make_token() for _ in range(4)]
    claims = [verifier.claims(token, now) for token in tokens]
    verifier.remembered = NoScan(verifier.remembered)

    revocations.add(Revocation("jti", claims[0].jti, now, now + 3600))
    open_revocations().add(Revocation("jti", claims[2].jti, now, now + 3600))
    open_revocations().add(Revocation("jti", "of someone else", now, now + 3600))
    verifier.refresh()

    assert list(verifier.remembered) == [tokens[1], tokens[3]]


@pytest.mark.parametrize(("kind", "name"), [("client", "shop"), ("partner", "acme")])
def test_tokens_of_a_disabled_caller_are_forgotten_and_refused_and_come_back(
    verifier, revocations, make_token, now, kind, name
):
    token = make_token()
    verifier.claims(token, now)

    revocations.add(Switch(kind, name, disabled=True, at=now))
    verifier.refresh()

    assert verifier.remembered == {}
    with pytest.raises(InvalidToken, match=f"the {kind} is disabled"):
        verifier.claims(token, now)

    revocations.add(Switch(kind, name, disabled=False, at=now))
    verifier.refresh()
    assert verifier.claims(token, now)


def test_a_verifier_that_slept_over_two_gatherings_forgets_what_was_revoked(
    verifier, revocations, open_revocations, make_token, now
):
    tokens = [make_token() for _ in range(3)]
    claims = [verifier.claims(token, now) for token in tokens]
    other = open_revocations()
    other.compact(now, is_whole=True)
    verifier.refresh()

    for number in range(2):
        other.add(Revocation("jti", claims[number].jti, now, now + 3600))
        other.compact(now + number + 1)
    verifier.refresh()

    assert list(verifier.remembered) == [tokens[2]]


def test_a_deleted_key_ends_its_tokens(verifier, keyring, make_token, now, tmp_path):
    old = make_token()
    verifier.claims(old, now)
    kid = keyring.current.kid
    keyring.rotate()
    new = make_token()
    verifier.claims(new, now)

    (tmp_path / f"keys/{kid}.key").unlink()
    verifier.refresh()

    assert list(verifier.remembered) == [new]
    with pytest.raises(InvalidToken, match="kid"):
        verifier.claims(old, now)


@pytest.mark.parametrize("who", ["nobody else", "a token of an unknown key", "one who shares the keyring"])
def test_a_deleted_key_ends_its_tokens_whoever_else_has_looked_since(
    verifier, keyring, make_token, forge, header, now, tmp_path, who
):
    old = make_token()
    verifier.claims(old, now)
    kid = keyring.current.kid
    keyring.rotate()
    verifier.refresh()

    (tmp_path / f"keys/{kid}.key").unlink()
    if who == "a token of an unknown key":
        with pytest.raises(InvalidToken, match="kid"):
            verifier.claims(forge(header={**header, "kid": "unknown"}), now)
    elif who == "one who shares the keyring":
        keyring.refresh()
    verifier.refresh()

    with pytest.raises(InvalidToken, match="kid"):
        verifier.claims(old, now)


def test_a_key_of_another_process_is_found_when_its_token_comes(
    revocations, keyring, issuer, make_token, now, tmp_path
):
    verifier = Verifier(Keyring.open(tmp_path / "keys"), revocations, issuer=issuer, audience=issuer)
    keyring.rotate()

    assert verifier.claims(make_token(), now).client == "shop"


def test_unknown_keys_make_the_disk_work_ten_times_a_second_at_most(verifier, keyring, forge, header, now, tmp_path):
    other = Keyring.open(tmp_path / "keys")
    verifier._keyring = other
    with pytest.raises(InvalidToken, match="kid"):
        verifier.claims(forge(header={**header, "kid": "no"}), now)
    kid = keyring.rotate()
    token = forge(header={**header, "kid": kid})

    with pytest.raises(InvalidToken, match="kid"):
        verifier.claims(token, now + 0.09)

    assert verifier.claims(token, now + 0.11)


def test_a_bad_key_file_does_not_stop_the_verifier(verifier, make_token, now, tmp_path, caplog):
    token = make_token()
    (tmp_path / "keys/bad.key").write_bytes(b"")
    verifier.refresh()

    assert verifier.claims(token, now)
    assert "known ones stay in use" in caplog.text


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first(keyring, revocations, make_token, issuer, now):
    verifier = Verifier(keyring, revocations, issuer=issuer, audience=issuer, remembered_bytes=5000)
    tokens = [make_token() for _ in range(6)]
    for token in tokens:
        verifier.claims(token, now)

    assert list(verifier.remembered) == tokens[-3:]


def test_pruning_forgets_the_expired_in_small_steps(verifier, make_token, now):
    for expires_s in (5, 500, 5, 5):
        verifier.claims(make_token(expires_s=expires_s), now)

    verifier.prune(now + 10, steps=2)
    assert len(verifier.remembered) == 3
    verifier.prune(now + 10, steps=2)
    assert [claims.expires_at for claims in verifier.remembered.values()] == [now + 500]


def test_room_comes_back_when_tokens_go(keyring, revocations, make_token, issuer, now):
    verifier = Verifier(keyring, revocations, issuer=issuer, audience=issuer, remembered_bytes=5000)
    room = verifier._room_bytes
    for _ in range(3):
        verifier.claims(make_token(expires_s=5), now)

    verifier.prune(now + 10)

    assert verifier._room_bytes == room


def test_a_token_is_read_when_it_is_ours_and_expired(keyring, make_token, now):
    token = make_token(now=now - 10_000, expires_s=5)

    assert read(keyring, token).client == "shop"
    with pytest.raises(InvalidToken, match="signature"):
        read(keyring, wrong(token))


def test_too_many_wrong_signatures_of_one_source_are_told_so_and_shut_out_no_good_one(verifier, make_token, now):
    verifier._failures = FailureBudget(per_source=3)
    for _ in range(3):
        with pytest.raises(InvalidToken):
            verifier.claims(wrong(make_token()), now, "192.0.2.1")

    with pytest.raises(TooManyRequests) as refused:
        verifier.claims(wrong(make_token()), now, "192.0.2.1")

    assert refused.value.retry_after_s == 1.0
    assert verifier.refused == 4
    assert verifier.claims(make_token(), now, "192.0.2.1").client == "shop"
    assert verifier.claims(make_token(), now, "192.0.2.2").client == "shop"


def test_wrong_signatures_without_end_are_not_even_looked_at(verifier, make_token, now):
    verifier._failures = FailureBudget(per_source=3, more=2)
    remembered = make_token()
    verifier.claims(remembered, now, "192.0.2.1")

    for _ in range(9):
        with pytest.raises((InvalidToken, TooManyRequests)):
            verifier.claims(wrong(make_token()), now, "192.0.2.1")

    assert verifier.refused == 5
    with pytest.raises(TooManyRequests):
        verifier.claims(make_token(), now, "192.0.2.1")
    assert verifier.claims(make_token(), now, "192.0.2.2")
    assert verifier.claims(remembered, now, "192.0.2.1")
    assert verifier.claims(make_token(), now + 1, "192.0.2.1")


def test_all_sources_together_have_a_budget_too():
    budget = FailureBudget(per_source=2, total=10, spare=2)
    for number in range(12):
        budget.check(f"192.0.2.{number}", 7.5)
        budget.failed(f"192.0.2.{number}")

    with pytest.raises(TooManyRequests):
        budget.check("198.51.100.1", 7.9)

    assert len(budget._counts) == 12
    budget.check("198.51.100.1", 8.0)
    assert budget._counts == {}


@pytest.mark.parametrize(
    ("one", "other"),
    [("2001:db8::1", "2001:db8::ffff:2"), ("::ffff:192.0.2.1", "192.0.2.1"), ("no:address", "no:address"), ("", "")],
)
def test_addresses_of_one_host_are_one_source(one, other):
    budget = FailureBudget(per_source=1, more=0)
    budget.check(one, 1.0)
    budget.failed(one)

    with pytest.raises(TooManyRequests):
        budget.check(other, 1.0)
