"""The program as a user runs it: a process, its output and its exit code."""

import pytest
from program_support import environment, write_settings
from transactions_support import Ledger

import commands


@pytest.fixture(scope="session")
def entrepot():
    """Run the program and return its exit code, output and complaints."""

    def run(*arguments, stdin="", cwd=None, **variables):
        return commands.run(*arguments, stdin=stdin, cwd=cwd, env=environment(**variables))

    return run


@pytest.fixture
def settings_file(tmp_path):
    """Return a settings file with an empty store beside it."""
    return write_settings(tmp_path)


@pytest.fixture
def ledger(on_store, settings_file):
    """The ledger of the store that the program *on_store* has begun."""
    ledger = Ledger(settings_file)
    yield ledger
    ledger.database.close()


@pytest.fixture
def program(entrepot, settings_file):
    """Run a command on the store of this test and return what came of it."""

    def run(*arguments):
        return entrepot("--settings", settings_file, *arguments)

    return run
