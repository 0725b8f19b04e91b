"""Follows a how-to in a host: each of its commands as it stands on the page, and what it prints as is shown there."""

import time

from pages import blocks, prints, squeezed

WORK = "/root/work"
STOPPED, INSTEAD = "While no daemon runs", "Instead of nginx"
# What only asks may ask again: nginx goes on with its reload, and workers take a catalog up, when the command is done;
# du fails at a file that a daemon has just put in the place of another one.
ASKS = ("curl -sS ", "du ")
ANSWER_S = 30.0


def follow(host, name):
    """Run the commands of the how-to *name*, each in a shell of its own in ``WORK``, and return what they printed."""
    printed = []
    for block in blocks(f"howto/{name}.rst", "console", "bash"):
        if block.caption == STOPPED:
            host.run("systemctl", "stop", "entrepot*")
        if block.caption == INSTEAD:
            host.run("systemctl", "stop", "nginx")
        for command, shown in block.commands():
            where = f"docs/howto/{name}.rst:{block.line}: {command}"
            printed.append(run(host, command, where, shown if block.language == "console" else None))
        if block.caption == STOPPED:
            host.run("systemctl", "start", "entrepot.target")
    return printed


def run(host, command, where, shown):
    """Return what *command* prints, which must be as *shown*, unless that is None."""
    end = time.monotonic() + ANSWER_S
    while True:
        done = host.shell(f"cd {WORK} && {command}", check=False)
        as_shown = shown in {None, done.stdout} or prints(squeezed(shown), squeezed(done.stdout))
        if done.returncode == 0 and as_shown:
            return done.stdout
        is_late = not command.startswith(ASKS) or time.monotonic() > end
        assert not is_late, f"{where}\n{shown}\nprinted\n{done.stdout}{done.stderr}"
        time.sleep(0.2)
