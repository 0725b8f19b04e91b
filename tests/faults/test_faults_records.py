"""SIGKILL at random moments while partners change and delete orders of an ERP; counted in the ERP's own records."""

import pytest
from fault_kills import kill
from fault_orders import assert_changes_were_made_once, assert_orders_are_as_written, order_writes

pytestmark = pytest.mark.faults

PATHS = ["/v1/orders", "/v1/ready-orders"]


@pytest.mark.parametrize("victims", [["worker", "erp"], ["courier", "master"]], ids=" and ".join)
def test_orders_are_changed_and_deleted_once_whatever_is_killed(make_rig, dice, cycles, victims):
    rig = make_rig(has_erp=True)

    with rig.load(4, *PATHS, work=order_writes, pause_s=0.3) as load:
        kill(rig, dice, victims, cycles)
    rig.daemon.wait_ready()
    rig.ledger.wait_drained()

    assert rig.ledger.states().keys() <= {"delivered"}
    assert_orders_are_as_written(load.writes, rig.erp.orders())
    assert_changes_were_made_once(load.writes, rig.erp)
    rig.assert_alive()
