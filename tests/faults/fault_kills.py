"""SIGKILL at random moments, of one victim or of several by turns."""

from fault_rig import Rig, pause

KILLS = {
    "worker": lambda rig, dice: rig.kill_worker(dice.randrange(8)),
    "master": lambda rig, _dice: rig.kill_master(),
    "courier": lambda rig, dice: rig.kill_courier(dice.randrange(8)),
    "upstream": lambda rig, dice: rig.kill_upstream(dice.random()),
    "erp": lambda rig, dice: rig.kill_erp(dice.random()),
}


def kill(rig: Rig, dice, victims: list[str], cycles: int) -> None:
    """Kill *victims* by turns at random moments, *cycles* times: mostly while all of it works, now and then sooner."""
    turns = dice.sample(victims, len(victims))
    for number in range(cycles):
        if dice.random() < 0.85:
            rig.wait_progress()
        pause(dice.random() * 0.8)
        KILLS[turns[number % len(turns)]](rig, dice)
