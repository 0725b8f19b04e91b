import json
import logging
import multiprocessing
import os
import stat
from base64 import urlsafe_b64decode

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from entrepot.errors import SettingsError, StoreUnavailable
from entrepot.identity.jwks import jwks
from entrepot.identity.keys import Keyring, Rotation, thumbprint
from entrepot.identity.master import MasterKey

DAY_S = 86_400.0


@pytest.fixture
def open_keyring(tmp_path, master, clock):
    """Return a function that opens the keys as another process would that may sign."""

    def open_it(*, after_s=float("inf"), tell=None):
        return Keyring.open(tmp_path / "keys", master, rotation=Rotation(after_s, tell), clock=clock)

    return open_it


def modes(directory):
    return {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


def test_thumbprint_is_that_of_rfc_8037_a_3():
    x = urlsafe_b64decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=")

    assert thumbprint(Ed25519PublicKey.from_public_bytes(x)) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_first_start_makes_one_private_key(keyring, tmp_path):
    assert list(keyring.keys) == [keyring.current.kid]
    assert [path.name for path in (tmp_path / "keys").iterdir()] == [f"{keyring.current.kid}.key"]
    assert modes(tmp_path / "keys") == {0o600}
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "master.key").stat().st_mode) == 0o600


def test_second_start_finds_the_key(keyring, tmp_path):
    again = Keyring.open(tmp_path / "keys", MasterKey("auto", tmp_path))

    assert again.current.kid == keyring.current.kid
    keyring.public(keyring.current.kid).verify(again.current.private.sign(b"it"), b"it")


def test_who_has_no_master_key_verifies_and_cannot_sign(keyring, tmp_path):
    (tmp_path / "master.key").unlink()

    worker = Keyring.open(tmp_path / "keys")

    worker.public(keyring.current.kid).verify(keyring.current.private.sign(b"it"), b"it")
    with pytest.raises(SettingsError, match="master key"):
        _ = worker.current


def test_the_private_key_stands_nowhere_on_the_disk_in_the_open(keyring, tmp_path):
    private = keyring.current.private.private_bytes_raw()
    forms = [private, private.hex().encode(), urlsafe_b64decode(pem(keyring.current.private).split(b"\n")[1])[-32:]]

    for path in [*(tmp_path / "keys").iterdir(), tmp_path / "master.key"]:
        assert not any(form in path.read_bytes() for form in forms)
    content = json.loads((tmp_path / f"keys/{keyring.current.kid}.key").read_bytes())
    assert urlsafe_b64decode(content["sealed"] + "==")[12:44] != private


def start(barrier, directory, results):
    barrier.wait()
    results.put(Keyring.open(directory / "keys", MasterKey("auto", directory)).current.kid)


def test_many_starts_at_once_end_with_one_key(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(4), context.Queue()
    starters = [context.Process(target=start, args=(barrier, tmp_path, results)) for _ in range(4)]
    for starter in starters:
        starter.start()

    kids = {results.get(timeout=60) for _ in starters}

    for starter in starters:
        starter.join()
    assert len(kids) == len(list((tmp_path / "keys").iterdir())) == 1


def test_a_start_after_one_that_was_killed_leaves_no_half_key(tmp_path, master):
    (tmp_path / "keys").mkdir(mode=0o700)
    (tmp_path / "keys/.abc.key.4711.new").write_bytes(b'{"kid":')

    keyring = Keyring.open(tmp_path / "keys", master)

    assert [path.stem for path in (tmp_path / "keys").iterdir()] == [keyring.current.kid]


# -- rotation


def test_rotation_signs_with_the_new_key_and_still_knows_the_old(keyring):
    old = keyring.current.kid

    new = keyring.rotate()

    assert keyring.current.kid == new != old
    assert set(keyring.keys) == {old, new}


def test_the_key_of_a_rotation_is_the_newest_also_when_the_clock_went_back(open_keyring, clock):
    first = open_keyring().current.kid
    clock.now -= DAY_S

    keyring = open_keyring()

    assert keyring.rotate() == keyring.current.kid != first
    assert open_keyring().current.kid == keyring.current.kid


def test_who_signs_rotates_a_key_that_is_too_old_and_says_so(open_keyring, clock, caplog):
    told = []
    keyring = open_keyring(after_s=90 * DAY_S, tell=lambda *kids: told.append(kids))
    first = keyring.current.kid
    clock.now += 90 * DAY_S - 1
    assert keyring.current.kid == first

    clock.now += 1
    with caplog.at_level(logging.INFO):
        second = keyring.current.kid

    assert second != first
    assert keyring.current.kid == second
    assert told == [(first, second)]
    assert "signing key rotated by age" in caplog.text


def test_a_key_that_is_due_is_rotated_once_by_all_processes_together(open_keyring, clock):
    one, other = (open_keyring(after_s=DAY_S) for _ in range(2))
    clock.now += DAY_S

    kids = {one.current.kid, other.current.kid, one.rotate_when_due() or "none", other.rotate_when_due() or "none"}

    assert kids == {one.current.kid, "none"}
    assert len(one.keys) == 2


def test_another_process_finds_the_new_key_and_misses_the_deleted_one(keyring, tmp_path):
    other = Keyring.open(tmp_path / "keys")
    old, new = keyring.current.kid, keyring.rotate()

    assert other.public(new) is None
    assert other.refresh()
    assert other.public(new) is not None
    assert not other.refresh()

    keyring.remove(old)
    assert other.refresh()
    assert other.public(old) is None


def test_the_key_that_signs_cannot_be_removed(keyring):
    with pytest.raises(ValueError, match="signs"):
        keyring.remove(keyring.current.kid)

    assert keyring.refresh() is False


def test_the_end_of_the_last_token_is_kept_with_the_key(keyring, tmp_path, now):
    kid = keyring.current.kid

    keyring.note_end(kid, now)

    again = Keyring.open(tmp_path / "keys", MasterKey("auto", tmp_path))
    assert again.keys[kid].ends_at == now
    assert again.current.private.private_bytes_raw() == keyring.current.private.private_bytes_raw()


# -- what is wrong with a file


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(keyring, tmp_path, mode):
    path = tmp_path / f"keys/{keyring.current.kid}.key"
    path.chmod(mode)

    with pytest.raises(SettingsError, match=f"chmod 600 {path}"):
        Keyring.open(tmp_path / "keys")


def test_a_directory_that_others_can_write_to_is_refused(keyring, tmp_path):
    (tmp_path / "keys").chmod(0o770)

    with pytest.raises(SettingsError, match="chmod 700"):
        Keyring.open(tmp_path / "keys")


def put(path, data):
    path.write_bytes(data)
    path.chmod(0o600)


def pem(private):
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("other.key", b"", "damaged"),
        ("other.key", b"[]", "damaged"),
        ("other.key", b'{"x": "AAAA", "made_at": 1, "ends_at": null, "sealed": ""}', "damaged"),
        ("other.pem", b"", "not a private key"),
        ("other.pem", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "not a private key"),
        ("other.pem", pem(generate_private_key(SECP256R1())), "another kind"),
        ("other.pem", pem(Ed25519PrivateKey.generate()), "bears the name of its key"),
    ],
)
def test_a_file_that_is_not_the_key_of_its_name_is_refused(keyring, tmp_path, master, name, data, reason):
    put(tmp_path / "keys" / name, data)

    with pytest.raises(SettingsError, match=reason):
        Keyring.open(tmp_path / "keys", master)


def test_a_key_under_the_name_of_another_is_refused(keyring, tmp_path):
    kid = keyring.current.kid
    put(tmp_path / "keys/other.key", (tmp_path / f"keys/{kid}.key").read_bytes())

    with pytest.raises(SettingsError, match="bears the name of its key"):
        Keyring.open(tmp_path / "keys")


def test_the_sealed_part_of_another_key_does_not_sign(keyring, tmp_path, master):
    first = keyring.current.kid
    second = keyring.rotate()
    contents = [json.loads((tmp_path / f"keys/{kid}.key").read_bytes()) for kid in (first, second)]
    put(tmp_path / f"keys/{second}.key", json.dumps({**contents[1], "sealed": contents[0]["sealed"]}).encode())

    with pytest.raises(SettingsError, match="another master key"):
        _ = Keyring.open(tmp_path / "keys", master).current


def test_a_bad_file_leaves_a_running_process_its_keys(keyring, tmp_path):
    kid = keyring.current.kid
    put(tmp_path / "keys/other.key", b"")

    with pytest.raises(SettingsError):
        keyring.refresh()

    assert keyring.public(kid) is not None


def test_a_directory_that_cannot_be_made_is_an_outage(tmp_path, master):
    (tmp_path / "file").touch()

    with pytest.raises(StoreUnavailable):
        Keyring.open(tmp_path / "file/keys", master)


# -- plain keys of former releases


def test_a_plain_key_of_a_former_release_is_sealed_and_signs_on(tmp_path, master):
    private = Ed25519PrivateKey.generate()
    kid = thumbprint(private.public_key())
    (tmp_path / "keys").mkdir(mode=0o700)
    put(tmp_path / f"keys/{kid}.pem", pem(private))
    os.utime(tmp_path / f"keys/{kid}.pem", (1_700_000_000, 1_700_000_000))

    keyring = Keyring.open(tmp_path / "keys", master)

    assert keyring.current.kid == kid
    assert keyring.current.private.private_bytes_raw() == private.private_bytes_raw()
    assert keyring.keys[kid].made_at == 1_700_000_000
    assert [path.name for path in (tmp_path / "keys").iterdir()] == [f"{kid}.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_plain_key_that_others_can_read_is_refused(tmp_path, master, mode):
    private = Ed25519PrivateKey.generate()
    path = tmp_path / f"keys/{thumbprint(private.public_key())}.pem"
    path.parent.mkdir(mode=0o700)
    put(path, pem(private))
    path.chmod(mode)

    with pytest.raises(SettingsError, match=f"chmod 600 {path}"):
        Keyring.open(tmp_path / "keys", master)


# -- the master key


def test_subkeys_differ_by_purpose_and_stay_the_same(tmp_path):
    MasterKey("auto", tmp_path).make()
    one, other = MasterKey("auto", tmp_path), MasterKey(f"file:{tmp_path}/master.key", tmp_path)

    assert one.subkey("a") == other.subkey("a") == one.subkey("a")
    assert len({one.subkey("a"), one.subkey("b"), bytes.fromhex((tmp_path / "master.key").read_text())}) == 3


def test_systemd_hands_the_master_key_in(tmp_path, monkeypatch):
    (tmp_path / "credentials").mkdir()
    put(tmp_path / "credentials/master-key", b"ab" * 32 + b"\n")
    (tmp_path / "credentials/master-key").chmod(0o440)
    put(tmp_path / "same.key", b"AB" * 32)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))

    keyring = Keyring.open(tmp_path / "keys", MasterKey("auto", tmp_path))

    assert not (tmp_path / "master.key").exists()
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    same = Keyring.open(tmp_path / "keys", MasterKey(f"file:{tmp_path}/same.key", tmp_path))
    assert same.current.private.private_bytes_raw() == keyring.current.private.private_bytes_raw()


@pytest.mark.parametrize("reference", ["auto", "credential:master-key", "credential:other"])
def test_a_master_key_that_is_not_handed_in_is_named(tmp_path, keyring, monkeypatch, reference):
    (tmp_path / "master.key").unlink()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    opened = Keyring.open(tmp_path / "keys", MasterKey(reference, tmp_path))

    with pytest.raises(SettingsError, match=r"master.key|master-key|other"):
        _ = opened.current


@pytest.mark.parametrize(
    ("data", "mode", "reason"),
    [
        (b"ab" * 32, 0o640, "chmod 600"),
        (b"ab" * 31, 0o600, "64 hexadecimal digits"),
        (b"zz" * 32, 0o600, "64 hexadecimal digits"),
        (b"\xff" * 64, 0o600, "64 hexadecimal digits"),
        (b"cd" * 32, 0o600, "another master key"),
    ],
)
def test_a_wrong_master_key_is_refused_and_not_shown(tmp_path, keyring, data, mode, reason):
    put(tmp_path / "master.key", data)
    (tmp_path / "master.key").chmod(mode)
    opened = Keyring.open(tmp_path / "keys", MasterKey("auto", tmp_path))

    with pytest.raises(SettingsError, match=reason) as refused:
        _ = opened.current

    assert data.decode("latin1") not in str(refused.value)


def test_a_lost_master_key_is_not_made_anew(tmp_path, keyring):
    (tmp_path / "master.key").unlink()

    with pytest.raises(SettingsError, match="put it back"):
        _ = Keyring.open(tmp_path / "keys", MasterKey("auto", tmp_path)).current

    assert not (tmp_path / "master.key").exists()


# -- the document


def test_the_document_has_the_public_members_alone_and_the_signing_key_first(keyring):
    first = keyring.current.kid
    second = keyring.rotate()

    found = jwks(keyring)

    keys = json.loads(found.document)["keys"]
    assert [key["kid"] for key in keys] == [second, first]
    assert [set(key) for key in keys] == [{"kty", "crv", "use", "alg", "kid", "x"}] * 2
    assert found.max_age_s == 300


def test_the_document_shows_what_another_process_did(keyring, tmp_path):
    other = Keyring.open(tmp_path / "keys")
    kid = keyring.rotate()

    assert json.loads(jwks(other).document)["keys"][0]["kid"] == kid


def test_another_library_verifies_a_signature_with_the_document(keyring):
    import jwt  # noqa: PLC0415 - this test alone needs it

    key = jwt.PyJWKSet.from_json(jwks(keyring).document.decode())[keyring.current.kid]

    token = jwt.encode({"sub": "shop"}, keyring.current.private, "EdDSA")
    assert jwt.decode(token, key, algorithms=["EdDSA"]) == {"sub": "shop"}
