"""The Jenkinsfile: every step is a target that runs by hand, too, and the order is that of a release."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Jenkinsfile").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
STUB = ROOT.parent / "shared" / "host" / "jenkinsfile-check" / "jenkinsfile-check.groovy"


def steps():
    return re.findall(r"\bsh '([^']*)'", TEXT)


def targets():
    rules = re.findall(r"^([a-z]+(?: [a-z]+)*):(?!=)", MAKEFILE, re.MULTILINE)
    return {name for names in rules for name in names.split()}


def test_every_step_is_a_target_of_the_makefile():
    called = [re.fullmatch(r"make ([a-z]+)(?: REPOSITORY=\S+)?", step) for step in steps()]

    assert len(called) > 10
    assert all(called)
    assert {match[1] for match in called} <= targets()
    assert len(re.findall(r"\bsh\b", TEXT)) == len(called)


def test_the_steps_are_those_of_a_release_in_its_order():
    (release,) = re.findall(r"^release: (.*?) ##", MAKEFILE, re.MULTILINE)

    assert [step.split()[1] for step in steps()] == release.split()


def test_only_a_tag_is_signed_and_published():
    guarded = re.findall(r"stage\('(\w+)'\) \{\n +when \{ buildingTag\(\) \}", TEXT)

    assert guarded == ["Sign", "Publish"]
    assert TEXT.index("stage('Install and upgrade')") < TEXT.index("stage('Sign')") < TEXT.index("stage('Publish')")


@pytest.mark.slow
def test_the_stub_of_the_declarative_grammar_takes_it():
    """Real Groovy reads it, and a stub of the sections and steps; Jenkins' own linter needs a server."""
    if not STUB.is_file():
        pytest.fail(f"the stub is not in {STUB}")

    command = ["/usr/bin/groovy", STUB, ROOT / "Jenkinsfile"]
    # Debian's groovy finds no Java but the default one by itself.
    environment = {**os.environ, "JAVA_HOME": str(Path("/usr/bin/java").resolve().parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("OK ")
