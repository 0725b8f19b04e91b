"""``entrepot db backup`` and ``restore`` as a user runs them."""

import json
import subprocess
import sys
import time


def test_a_backup_is_named_by_its_time_and_restored(program):
    empty = program("db", "backup")
    program("key", "list")
    made = program("db", "backup", "--keep", "1", "--json")
    file = json.loads(made.stdout)["file"]
    restored = program("db", "restore", file)

    assert (empty.returncode, empty.stdout) == (1, "")
    assert empty.stderr == "entrepot: there is nothing to back up: the database is empty\n"
    assert (made.returncode, made.stderr, file[-4:]) == (0, "", ".tar")
    assert (restored.returncode, restored.stderr) == (0, "")
    assert "0 transactions that were not finished are held" in restored.stdout


def test_a_backup_that_is_told_to_end_leaves_nothing(program, settings_file, tmp_path):
    program("key", "list")
    command = [sys.executable, "-m", "entrepot.cli.main", "--settings", settings_file, "db", "backup", tmp_path]

    def ended():
        """Return the exit code of a backup that was told to end once it had begun, or 0 when it was done before."""
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and not list(tmp_path.glob(".entrepot-backup/*")):
                time.sleep(0.001)
            process.terminate()
        return process.returncode

    assert any(ended() == 130 for _ in range(20))
    assert not (tmp_path / ".entrepot-backup").exists()


def test_wrong_usage_is_exit_code_2_and_a_file_that_is_none_1(program, tmp_path):
    usages = [
        ("db", "backup", "--keep", "0"),
        ("db", "backup", "--keep", "7", tmp_path / "file.tar"),
        ("db", "restore"),
    ]
    (tmp_path / "other.tar").write_bytes(b"other" * 1000)

    codes = [program(*usage).returncode for usage in usages]
    missing = program("db", "restore", tmp_path / "missing.tar")
    other = program("db", "restore", tmp_path / "other.tar")

    assert codes == [2, 2, 2]
    assert (missing.returncode, missing.stderr) == (1, f"{tmp_path}/missing.tar: No such file or directory\n")
    assert (other.returncode, other.stderr) == (1, "entrepot: this is no backup of Entrepot, or a damaged one\n")
