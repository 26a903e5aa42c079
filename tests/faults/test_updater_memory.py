"""The updater runs out of memory: the agent hears of it, gives the offer up in its time, and answers on all the while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.brokers import Mosquitto, TestAuthority, make_broker
from tests.daemons import MODEL, Agent, Asker, make_state, settings, wait_for
from tests.samples import Publisher

from sprat_device.contract.ids import Channel, Digest
from sprat_device.contract.phases import Reason
from sprat_device.contract.twin import Offer

pytestmark = pytest.mark.faults


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    return TestAuthority(tmp_path)


@pytest.fixture
def broker(tmp_path: Path, authority: TestAuthority) -> Iterator[Mosquitto]:
    (tmp_path / "broker").mkdir()
    broker = make_broker(tmp_path / "broker", authority)
    broker.start()
    yield broker
    broker.kill()


def test_inference_goes_on_while_the_updater_has_no_memory(
    tmp_path: Path, authority: TestAuthority, broker: Mosquitto
) -> None:
    state = make_state(tmp_path / "state", authority, broker.port)
    root = Publisher(tmp_path / "publisher").folder / "repository/metadata/1.root.json"
    (state / "identity/root.json").write_bytes(root.read_bytes())
    settings(state, more="[install]\nupdater_memory_kib = 1\nupdater_attempts = 1")
    with closing(Asker(broker, authority)) as hub, closing(Agent(state, tmp_path)) as agent:
        agent.ready()
        hub.desire(offers={MODEL: Offer("r1", Channel("canary"), 2, "generic", Digest("0" * 64))})

        def told() -> dict[str, str]:
            install: dict[str, str] = hub.ask("status")["result"]["report"]["models"][MODEL]["install"]
            return install if install["phase"] == "refused" else {}

        # The X.509 library ends its process by SIGABRT where it gets no memory; Python and OpenSSL say so.
        reasons = {Reason.OUT_OF_MEMORY: "code 137", Reason.UPDATER_FAILED: "code -6"}
        found = wait_for(told, "the offer is given up")["reason"]
        assert reasons[Reason(found)] in agent.log
        before = hub.healthy()
        wait_for(lambda: hub.healthy() > before + 20, "it answers on")
        report = hub.ask("status")["result"]["report"]
        assert report["models"][MODEL]["errors"] == 0
        for lane, counts in report["ledger"].items():
            kept = sum(counts[name] for name in ("acked", "spooled", "open", "evicted", "damaged"))
            assert counts["produced"] == kept, lane
        assert agent.end() == 0
