import os
import signal
import stat
import threading

import pytest

from entrepot.chassis import mutex
from entrepot.chassis import shared as layout
from entrepot.chassis.mutex import SharedStateError
from entrepot.chassis.shared import SharedState, started_at


def test_a_name_has_the_same_cells_in_all_processes(shared, spawn):
    for name in ("a", "b", "c"):
        shared.cells[shared.slot(name)] = ord(name)

    said = spawn("print(*[shared.cells[shared.slot(name)] for name in 'cab'])").communicate()[0]

    assert said.split() == ["99.0", "97.0", "98.0"]


def test_openers_that_race_get_one_file_and_lose_no_count(spawn, path):
    racers = [spawn("for _ in range(300): shared.counter('race').bump()") for _ in range(5)]

    assert [racer.wait(10) for racer in racers] == [0] * 5

    assert SharedState.open(path).counter("race").read() == 1500
    assert [entry.name for entry in path.parent.iterdir()] == ["shared"]


def test_the_file_is_for_its_owner_only(shared, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_lock_whose_holder_was_killed_goes_on(shared, spawn):
    for _ in range(2):
        holder = spawn("shared.lock.__enter__(); print('held', flush=True); time.sleep(60)")
        assert holder.stdout.readline() == "held\n"
        assert mutex.try_lock(shared.lock.address) != 0

        holder.send_signal(signal.SIGKILL)
        holder.wait()

        with shared.lock:
            pass
        assert mutex.try_lock(shared.lock.address) == 0
        mutex.unlock(shared.lock.address)


def test_a_waiter_goes_on_when_the_holder_is_killed(shared, spawn):
    holder = spawn("shared.lock.__enter__(); print('held', flush=True); time.sleep(60)")
    holder.stdout.readline()
    threading.Timer(0.1, holder.kill).start()

    with shared.lock:
        assert holder.wait() == -signal.SIGKILL


def test_a_lock_that_pthread_gives_up_is_made_anew(shared, spawn):
    spawn("shared.lock.__enter__(); os.kill(os.getpid(), signal.SIGKILL)").wait()
    assert mutex.try_lock(shared.lock.address) == 130  # EOWNERDEAD, and unlocked without being made consistent
    mutex.unlock(shared.lock.address)

    with shared.lock:
        pass

    assert mutex.try_lock(shared.lock.address) == 0
    mutex.unlock(shared.lock.address)


def test_a_lock_that_its_own_thread_forgot_is_taken_again(shared):
    shared.lock.__enter__()

    with shared.lock:
        pass

    assert mutex.try_lock(shared.lock.address) == 0
    mutex.unlock(shared.lock.address)


def test_threads_that_count_together_lose_nothing(shared):
    counter = shared.counter("threads")
    threads = [threading.Thread(target=lambda: [counter.bump() for _ in range(3000)]) for _ in range(3)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counter.read() == 9000


def test_another_boot_keeps_counters_and_forgets_cells(shared, path, other_boot):
    shared.counter("revision").bump()
    shared.cells[shared.slot("limit")] = 5.0
    shared.close()

    other_boot()
    later = SharedState.open(path)

    assert later.counter("revision").read() == 1
    assert later.cells[later.slot("limit")] == 0.0
    assert later.epoch == shared.epoch


@pytest.mark.parametrize("after_seal", [False, True])
def test_another_boot_without_a_seal_is_another_epoch(shared, path, other_boot, after_seal):
    counter = shared.counter("revision")
    if after_seal:
        shared.close()
    counter.bump()

    other_boot()
    later = SharedState.open(path)

    assert later.counter("revision").read() == 1
    assert later.epoch != shared.epoch


def test_a_file_in_use_is_of_this_boot_whatever_id_another_process_sees(shared, path):
    shared.cells[shared.slot("limit")] = 5.0
    with path.open("r+b") as file:
        file.seek(16)
        file.write(b"0" * 36)

    other = SharedState.open(path)

    assert other.cells[other.slot("limit")] == 5.0


def test_a_file_that_only_a_child_of_its_opener_uses_is_of_this_boot(path, spawn):
    parent = spawn("""
        if os.fork() == 0:
            sys.stdin.readline()
    """)
    parent.wait()
    inode = path.stat().st_ino
    with path.open("r+b") as file:
        file.seek(16)
        file.write(b"0" * 36)

    SharedState.open(path)

    assert path.stat().st_ino == inode


def test_the_seal_waits_for_the_last_process(shared, path, other_boot, spawn):
    worker = spawn("shared.register(); print('up', flush=True); sys.stdin.readline(); shared.close()")
    worker.stdout.readline()
    shared.register()

    shared.close()
    other_boot()
    assert SharedState.open(path).epoch != shared.epoch

    worker.stdin.write("\n")


@pytest.mark.parametrize("damage", [b"", b"no such thing", b"HOSTCELL" + bytes(4000)])
def test_a_file_that_is_none_is_made_anew(path, damage):
    path.write_bytes(damage)

    shared = SharedState.open(path)

    assert shared.counter("revision").bump() == 1


def test_another_version_is_made_anew_beside_those_who_still_map_it(shared, path):
    counter = shared.counter("revision")
    with path.open("r+b") as file:
        file.seek(8)
        file.write(b"\x09")

    later = SharedState.open(path)

    assert counter.bump() == 1
    assert later.counter("revision").read() == 0
    assert later.epoch != shared.epoch


def test_a_directory_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(SharedStateError, match="missing/shared: No such file"):
        SharedState.open(tmp_path / "missing" / "shared")


def test_a_full_table_says_so_and_knows_the_old_names(shared):
    old = shared.slot("old")
    shared.words[layout._RECORDS_USED] = layout.SLOTS

    assert shared.slot("old") == old
    with pytest.raises(SharedStateError, match="no slot left for 'new', 98304 are in use"):
        shared.slot("new")


def test_many_names_have_cells_of_their_own(shared):
    slots = {shared.slot(f"client {number}") for number in range(5000)}

    assert len(slots) == 5000
    assert all(slot % 4 == 0 for slot in slots)


def test_a_process_has_one_row_until_it_dies(shared, spawn):
    assert shared.register() == shared.register() == shared.row == 0
    worker = spawn("print(shared.register(), flush=True); shared.set_connections(7); print(flush=True); time.sleep(60)")
    assert worker.stdout.readline() == "1\n"
    worker.stdout.readline()
    assert (shared.mean_connections(), shared.reap()) == (7.0, 0)

    worker.kill()
    os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)  # dead, and still a zombie

    assert shared.reap() == 1
    assert shared.pids() == [os.getpid()]
    assert shared.mean_connections() == 0.0
    assert spawn("print(shared.register())").communicate()[0] == "1\n"


def test_a_process_id_that_was_used_again_is_another_process(shared, spawn):
    other = spawn("print(shared.register(), flush=True); time.sleep(60)")
    row = int(other.stdout.readline())
    shared.words[layout._ROW_WORD + row * 8 + 1] -= 1

    assert shared.reap() == 1


def test_a_child_of_a_fork_registers_itself(spawn):
    said = spawn("""
        print(shared.register(), flush=True)
        if os.fork() == 0:
            try:
                shared.row
            except RuntimeError as exc:
                print(exc)
            print(shared.register(), shared.row)
        else:
            os.wait()
    """).communicate()[0]

    assert said.splitlines() == ["0", "this process has not registered itself in the shared state", "1 1"]


def test_the_mean_of_connections_is_over_those_who_serve(shared, spawn):
    shared.register()
    shared.set_connections(1)
    spawn("shared.register(); print(flush=True); time.sleep(60)").stdout.readline()
    spawn("shared.register(); shared.set_connections(4); print(flush=True); time.sleep(60)").stdout.readline()

    assert shared.mean_connections() == 2.5


def test_no_more_rows_than_there_are(shared):
    for row in range(layout.ROWS):
        shared.words[layout._ROW_WORD + row * 8] = 1
        shared.words[layout._ROW_WORD + row * 8 + 1] = started_at(1)
    shared.words[layout._ROWS_USED] = layout.ROWS

    with pytest.raises(SharedStateError, match="no row left"):
        shared.register()
