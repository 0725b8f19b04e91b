"""What a start compares: file and database, of which either may have been lost, also of very many tokens."""

import time
import uuid
from hashlib import blake2b

import pytest
from sqlalchemy import insert

from entrepot.identity.agreement import restore
from entrepot.identity.refused import Revocation
from entrepot.identity.revoked_ids import ID_BYTES, RevokedIds, record_of, write_ids
from entrepot.identity.rows import moment
from entrepot.store import identity as tables


def gather(revocations, jtis, now):
    revocations.add_all([Revocation("jti", jti, now, now + 3600, by="ann") for jti in jtis])
    revocations.compact(now, is_whole=True)


def write_rows(database, jtis, now):
    same = {"kind": "jti", "revoked_at": moment(now), "expires_at": moment(now + 3600), "revoked_by": "ann"}
    with database.writing() as connection:
        connection.execute(insert(tables.Revocation), [same | {"value": jti} for jti in jtis])


def test_what_the_database_alone_knows_is_put_back_and_nothing_else(database, revocations, open_revocations, now):
    known, lost = ([f"{name}-{number}" for number in range(700)] for name in ("known", "lost"))
    gather(revocations, known, now)
    write_rows(database, [*known, *lost], now)
    revocations.add(Revocation("jti", lost[0], now, now + 3600, by="bob"))

    assert restore(database, revocations, now) == len(lost) - 1
    assert restore(database, revocations, now) == 0
    assert open_revocations().missing([*known, *lost]) == set()


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_ids_are_found_in_bulk_as_one_by_one(tmp_path, count):
    jtis = [f"jti-{number}" for number in range(count)]
    write_ids(tmp_path / "ids", [record_of(jti, 1.0) for jti in jtis], follows=0, written_at=0.0)
    ids = RevokedIds(tmp_path / "ids")
    asked = [blake2b(f"jti-{number}".encode(), digest_size=ID_BYTES).digest() for number in range(count + 100)]

    assert ids.missing(asked) == [id_ for id_ in asked if id_ not in ids] == asked[count:]


def test_ids_that_begin_alike_are_told_apart(tmp_path):
    alike = [b"the same" + bytes([number]) * 8 for number in range(4)]
    write_ids(tmp_path / "ids", [id_ + bytes(8) for id_ in alike[:3]], follows=0, written_at=0.0)

    assert RevokedIds(tmp_path / "ids").missing([bytes(16), *alike, b"\xff" * 16]) == [
        bytes(16),
        alike[3],
        b"\xff" * 16,
    ]


def test_very_many_tokens_are_compared_in_a_fraction_of_the_time_that_one_by_one_takes(revocations, now):
    jtis = [str(uuid.uuid4()) for _ in range(10_000)]
    gather(revocations, jtis, now)

    def took(compare):
        begin = time.process_time()
        compare()
        return time.process_time() - begin

    alone = min(
        took(lambda: [jti for jti in jtis if not revocations.holds(Revocation("jti", jti, now, now))]) for _ in range(3)
    )
    together = min(took(lambda: revocations.missing(jtis)) for _ in range(3))

    assert together < alone / 3
