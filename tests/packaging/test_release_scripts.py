"""What signs and publishes packages: one key for good, nothing that lies about, and the version before is kept."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
VERSION = re.search(r"^version = (.*)$", (ROOT / "setup.cfg").read_text(encoding="utf-8"), re.MULTILINE)[1]
RELEASES = {"bookworm": "12", "trixie": "13"}
CONTROL = """\
Package: entrepot
Version: {version}
Architecture: amd64
Section: net
Priority: optional
Maintainer: t <t@example.org>
Description: t
"""


def run(script, *arguments, **variables):
    """Run debian/*script*, with none of this process' variables but what finds programs."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **variables}
    command = [ROOT / "debian" / script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)


@pytest.fixture
def make_packages(tmp_path):
    """Return what lays the packages of *version*, of each suite, into a folder, and returns it."""
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tmp_path / "dist").mkdir()

    def make(version=VERSION):
        for release in RELEASES.values():
            name = f"{version}+deb{release}"
            (tree / "DEBIAN" / "control").write_text(CONTROL.format(version=name), encoding="utf-8")
            place = tmp_path / "dist" / f"entrepot_{name}_amd64.deb"
            if not place.exists():
                subprocess.run(["dpkg-deb", "-b", tree, place], check=True, capture_output=True)
        return tmp_path / "dist"

    return make


@pytest.fixture
def make_key():
    """Return what makes a key in a keyring of its own, and returns the environment that has both."""
    with tempfile.TemporaryDirectory() as folder:

        def make(name):
            home = Path(folder) / name
            home.mkdir(mode=0o700)
            gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--passphrase", ""]
            subprocess.run([*gpg, "--quick-generate-key", name, "ed25519", "sign", "never"], check=True)
            listed = subprocess.run(
                [*gpg, "--list-keys", "--with-colons"], check=True, capture_output=True, text=True
            ).stdout
            return {"GNUPGHOME": str(home), "SIGN_WITH": re.search(r"^fpr:*([0-9A-F]+):$", listed, re.MULTILINE)[1]}

        yield make
        for home in Path(folder).iterdir():
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"], check=True)


def held(repository, codename):
    command = ["reprepro", "--basedir", repository, "--list-format", "${version}", "list", codename]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def key_of(repository):
    return (repository / "entrepot.asc").read_bytes(), (repository / "conf" / "distributions").read_bytes()


def test_a_repository_keeps_the_key_that_it_was_made_with(make_packages, make_key, tmp_path):
    dist, repository = make_packages(), tmp_path / "repository"
    ours, other = make_key("ours"), make_key("other")
    assert run("publish", repository, dist, **ours).returncode == 0
    before = key_of(repository)

    without, with_another = run("publish", repository, dist), run("publish", repository, dist, **other)

    for done in (without, with_another):
        assert done.returncode == 1
        assert f"is signed by {ours['SIGN_WITH']}" in done.stderr
    assert not (tmp_path / "repository.key").exists()
    assert key_of(repository) == before
    assert run("publish", repository, dist, **ours).returncode == 0


def test_a_key_that_the_keyring_has_not_makes_no_repository(make_packages, make_key, tmp_path):
    ours = {**make_key("ours"), "SIGN_WITH": "0" * 40}

    done = run("publish", tmp_path / "repository", make_packages(), **ours)

    assert done.returncode == 1
    assert f"the keyring has no secret key {'0' * 40}" in done.stderr
    assert not (tmp_path / "repository").exists()


def test_a_repository_of_this_machine_keeps_the_key_that_was_made_for_it(make_packages, tmp_path):
    dist, repository = make_packages(), tmp_path / "repository"
    assert run("publish", repository, dist).returncode == 0
    before = key_of(repository)

    done = run("publish", repository, dist)

    assert (done.returncode, key_of(repository)) == (0, before)


def test_the_version_before_stays_in_the_repository(make_packages, tmp_path):
    repository = tmp_path / "repository"
    for version in ("1.0", "1.1", "1.1", "1.2", "1.2"):
        assert run("publish", repository, make_packages(version), "trixie").returncode == 0

    assert (held(repository, "trixie"), held(repository, "trixie-before")) == ("1.2+deb13", "1.1+deb13")
    assert [path.name for path in sorted(repository.glob("pool/**/*.deb"))] == [
        "entrepot_1.1+deb13_amd64.deb",
        "entrepot_1.2+deb13_amd64.deb",
    ]
    assert (repository / "dists" / "bookworm-before" / "InRelease").exists()


def test_what_is_signed_is_this_version_alone(make_packages, make_key):
    make_packages("0.0.1")
    dist = make_packages()

    done = run("sign", dist, TAG_NAME=f"v{VERSION}", **(variables := make_key("ours")))

    assert done.returncode == 0, done.stderr
    names = [line.split()[1] for line in (dist / "SHA256SUMS").read_text(encoding="utf-8").splitlines()]
    assert names == [f"entrepot_{VERSION}+deb{release}_amd64.deb" for release in RELEASES.values()]
    verified = ["gpg", "--homedir", variables["GNUPGHOME"], "--verify", dist / "SHA256SUMS.asc", dist / "SHA256SUMS"]
    assert subprocess.run(verified, check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"TAG_NAME": f"v{VERSION}", "SIGN_WITH": ""}, "a release is signed, and SIGN_WITH names no key"),
        ({"TAG_NAME": "v0.0.1"}, f"the tag is v0.0.1, and setup.cfg is about {VERSION}"),
    ],
)
def test_a_release_that_cannot_be_signed_fails(make_packages, variables, said):
    done = run("sign", make_packages(), **variables)

    assert (done.returncode, said in done.stderr) == (1, True), done.stderr


def test_nothing_is_signed_where_this_version_was_not_built(make_packages):
    done = run("sign", make_packages("0.0.1"))

    assert done.returncode == 1
    assert f"there is no package of {VERSION} in " in done.stderr


@pytest.mark.parametrize("script", ["debian/build-in-host", "debian/piuparts", "debian/autopkgtest", ".ci/host"])
def test_a_script_without_the_hosts_says_what_it_needs(script, tmp_path):
    """Another checkout, with nothing beside it."""
    checkout = tmp_path / "checkout"
    (checkout / script).parent.mkdir(parents=True)
    shutil.copy(ROOT / script, checkout / script)

    done = subprocess.run(
        [checkout / script, "trixie", tmp_path / "work"],
        cwd=checkout, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode == 1
    assert f"{Path(script).name}: the scripts that boot a host are not in {tmp_path}/shared/host" in done.stderr
