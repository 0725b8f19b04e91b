import multiprocessing
import os
import stat
from base64 import urlsafe_b64decode

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from entrepot.errors import SettingsError, StoreUnavailable
from entrepot.identity.keys import Keyring, thumbprint


def modes(directory):
    return {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


def test_thumbprint_is_that_of_rfc_8037_a_3():
    x = urlsafe_b64decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=")

    assert thumbprint(Ed25519PublicKey.from_public_bytes(x)) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_first_start_makes_one_private_key(tmp_path):
    keyring = Keyring.open(tmp_path / "keys")

    assert list(keyring.keys) == [keyring.current.kid]
    assert [path.name for path in (tmp_path / "keys").iterdir()] == [f"{keyring.current.kid}.pem"]
    assert modes(tmp_path / "keys") == {0o600}
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_second_start_finds_the_key(keyring, tmp_path):
    again = Keyring.open(tmp_path / "keys")

    assert again.current.kid == keyring.current.kid
    keyring.public(keyring.current.kid).verify(again.current.private.sign(b"it"), b"it")


def start(barrier, directory, results):
    barrier.wait()
    results.put(Keyring.open(directory).current.kid)


def test_many_starts_at_once_end_with_one_key(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(4), context.Queue()
    starters = [context.Process(target=start, args=(barrier, tmp_path / "keys", results)) for _ in range(4)]
    for starter in starters:
        starter.start()

    kids = {results.get(timeout=10) for _ in starters}

    for starter in starters:
        starter.join()
    assert len(kids) == len(list((tmp_path / "keys").iterdir())) == 1


def test_a_start_after_one_that_was_killed_leaves_no_half_key(tmp_path):
    (tmp_path / "keys").mkdir(mode=0o700)
    (tmp_path / "keys/.abc.pem.4711.new").write_bytes(b"-----BEGIN PRIV")

    keyring = Keyring.open(tmp_path / "keys")

    assert [path.stem for path in (tmp_path / "keys").iterdir()] == [keyring.current.kid]


def test_rotation_signs_with_the_new_key_and_still_knows_the_old(keyring):
    old = keyring.current.kid

    new = keyring.rotate()

    assert keyring.current.kid == new != old
    assert set(keyring.keys) == {old, new}


def test_the_key_of_a_rotation_is_the_newest_also_when_the_clock_went_back(keyring, tmp_path):
    first = keyring.current.kid
    os.utime(tmp_path / f"keys/{first}.pem", (4_000_000_000, 4_000_000_000))
    keyring = Keyring.open(tmp_path / "keys")

    assert keyring.rotate() == keyring.current.kid != first


def test_another_process_finds_the_new_key_and_misses_the_deleted_one(keyring, tmp_path):
    other = Keyring.open(tmp_path / "keys")
    old, new = keyring.current.kid, keyring.rotate()

    assert other.public(new) is None
    assert other.refresh()
    assert other.public(new) is not None
    assert not other.refresh()

    (tmp_path / f"keys/{old}.pem").unlink()
    assert other.refresh()
    assert other.public(old) is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(keyring, tmp_path, mode):
    path = tmp_path / f"keys/{keyring.current.kid}.pem"
    path.chmod(mode)

    with pytest.raises(SettingsError, match=f"chmod 600 {path}"):
        Keyring.open(tmp_path / "keys")
    with pytest.raises(SettingsError):
        _ = keyring.current


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
    ("data", "reason"),
    [
        (b"", "not a private key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "not a private key"),
        (pem(generate_private_key(SECP256R1())), "another kind"),
        (pem(Ed25519PrivateKey.generate()), "bears the name of its key"),
    ],
)
def test_a_file_that_is_not_the_key_of_its_name_is_refused(keyring, tmp_path, data, reason):
    put(tmp_path / "keys/other.pem", data)

    with pytest.raises(SettingsError, match=reason):
        Keyring.open(tmp_path / "keys")


def test_a_bad_file_leaves_a_running_process_its_keys(keyring, tmp_path):
    kid = keyring.current.kid
    put(tmp_path / "keys/other.pem", b"")

    with pytest.raises(SettingsError):
        keyring.refresh()

    assert keyring.public(kid) is not None


def test_a_directory_that_cannot_be_made_is_an_outage(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(StoreUnavailable):
        Keyring.open(tmp_path / "file/keys")
