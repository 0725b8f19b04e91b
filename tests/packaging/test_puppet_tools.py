"""The Puppet module as Debian's own tools see it: parser, templates, lint, specs, reference, and r10k's Puppetfile."""

import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PUPPET = Path(__file__).parents[2] / "puppet"
MODULE, CONTROL = PUPPET / "modules" / "entrepot", PUPPET / "control-repo"


def out(*command, cwd=MODULE):
    # Neither a virtual environment nor settings of Ruby's that lie about: Debian's programs alone.
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": os.environ["HOME"], "LANG": "C.UTF-8"}
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300, env=environment
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_manifests_and_types_are_read():
    out("puppet", "parser", "validate", "manifests", "types", "../../control-repo/manifests",
        "../../control-repo/site-modules")  # fmt: skip


def test_templates_are_read():
    out("puppet", "epp", "validate", *map(str, (MODULE / "templates").glob("*.epp")))


@pytest.mark.parametrize("folder", [MODULE, CONTROL], ids=lambda folder: folder.name)
def test_lint_has_nothing_to_say(folder):
    assert out("puppet-lint", "--fail-on-warnings", ".", cwd=folder) == ""


def test_specs_pass():
    assert " 0 failures" in out("rspec")


def test_reference_is_that_of_these_manifests(tmp_path):
    out("cp", "-r", str(MODULE), str(tmp_path / "entrepot"), cwd=tmp_path)

    out("puppet", "strings", "generate", "--format", "markdown", "--out", "fresh.md", cwd=tmp_path / "entrepot")

    fresh = (tmp_path / "entrepot" / "fresh.md").read_text(encoding="utf-8")
    assert (MODULE / "REFERENCE.md").read_text(encoding="utf-8") == fresh


def test_puppetfile_is_read():
    out("r10k", "puppetfile", "check", cwd=CONTROL)


def test_r10k_puts_the_module_where_the_environment_looks_for_it(tmp_path):
    """The module is a repository of its own by then; here on this disk."""
    published, control = tmp_path / "published", tmp_path / "control"
    for folder, place in ((MODULE, published), (CONTROL, control)):
        out("cp", "-r", str(folder), str(place), cwd=tmp_path)
    name = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    out("git", "init", "-q", cwd=published)
    out("git", "add", "--all", cwd=published)
    out("git", *name, "commit", "-q", "-m", "The module alone.", cwd=published)
    out("git", "tag", "v0.1.0", cwd=published)
    text = (control / "Puppetfile").read_text(encoding="utf-8")
    text = text.replace("https://git.example.com/puppet-entrepot.git", published.as_uri())
    (control / "Puppetfile").write_text(
        "\n".join(line for line in text.splitlines() if "puppetlabs/stdlib" not in line), encoding="utf-8"
    )

    out("r10k", "puppetfile", "install", cwd=control)

    found = out("puppet", "module", "list", "--modulepath", str(control / "modules"), "--color=false", cwd=control)
    assert "entrepot-entrepot (v0.1.0)" in found
