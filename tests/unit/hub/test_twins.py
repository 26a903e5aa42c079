"""Desired twins rise by one, are stored before they are sent, and are sent again; what devices tell is kept."""

from __future__ import annotations

import pytest
from tests.hubs import TestHub, documents

from sprat.hub.errors import NotFound
from sprat.hub.fleet import twin
from sprat.hub.fleet.presence import Heard, Presence
from sprat.hub.services import revoke
from sprat_device.contract import topics
from sprat_device.contract.ids import Channel, DeviceId, Digest
from sprat_device.contract.topics import Kind
from sprat_device.contract.twin import Detail, Offer, Reported, TelemetrySettings, parse_desired
from sprat_device.contract.twin import Presence as Told

OFFER = Offer("r1", Channel("canary"), 1, "generic", Digest("0" * 64))
D1 = DeviceId("d1")


def test_offers_raise_the_version_and_the_same_offer_does_not(hub: TestHub) -> None:
    hub.add_device("d1")
    twins = hub.services.twins
    versions = [twins.offer(D1, "digits", offer).version for offer in (OFFER, OFFER, None, None, OFFER)]
    assert versions == [1, 1, 2, 2, 3]
    sent = [parse_desired(payload) for _, payload in hub.sent]
    assert [one.version for one in sent] == [1, 2, 3]
    assert sent[-1].offers == {"digits": OFFER}
    assert hub.sent[-1][0] == "sprat/v1/d1/down/desired"


def test_an_offer_leaves_other_models_and_settings_alone(hub: TestHub) -> None:
    hub.add_device("d1")
    twins = hub.services.twins
    twins.offer(D1, "digits", OFFER)
    twins.change(D1, lambda now: twin.with_settings(now, TelemetrySettings(Detail.SUMMARY), "debug"))
    after = twins.offer(D1, "occupancy", OFFER)
    assert after.offers.keys() == {"digits", "occupancy"}
    assert (after.telemetry.detail, after.log_level) == (Detail.SUMMARY, "debug")


def test_a_change_that_fails_is_neither_stored_nor_sent(hub: TestHub) -> None:
    hub.add_device("d1")

    def fail(_now: object) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        hub.services.twins.change(D1, fail)  # type: ignore[arg-type]
    assert hub.sent == []
    assert hub.services.store.desired.get(D1) is None


def test_everything_is_sent_again_under_the_incarnation_of_the_store(hub: TestHub) -> None:
    hub.add_device("d1")
    hub.services.twins.offer(D1, "digits", OFFER)
    hub.services.store.set_fact("incarnation", "restored")
    hub.sent.clear()
    assert hub.services.twins.send_all() == 1
    desired = parse_desired(hub.sent[0][1])
    assert (desired.incarnation, desired.version) == ("restored", 1)


@pytest.mark.parametrize("known", [True, False])
def test_nothing_is_wanted_of_who_is_not_in_the_fleet(hub: TestHub, known: bool) -> None:
    if known:
        hub.add_device("d1")
        revoke(hub.services, D1, "ann")
    with pytest.raises(NotFound):
        hub.services.twins.offer(D1, "digits", OFFER)
    assert all(document is None for _, document in documents(hub.sent))


def heard(kind: Kind, payload: bytes, device: str = "d1") -> Heard:
    return Heard(topics.topic(DeviceId(device), kind), payload)


def test_presence_and_reported_are_kept(hub: TestHub) -> None:
    hub.add_device("d1")
    presence = Presence(hub.services.store, hub.clock)
    came = hub.clock()
    presence.keep(
        [heard(Kind.PRESENCE, Told(True, "boot").dump()), heard(Kind.REPORTED, Reported(7, agent="1").dump())]
    )
    hub.clock.advance(5)
    presence.keep([heard(Kind.PRESENCE, Told(True, "boot").dump())])
    device = hub.services.store.devices.get(D1)
    assert device is not None
    assert (device.online, device.boot_id, device.presence_us) == (True, "boot", came)
    assert device.seen_us == hub.clock()
    told = hub.services.store.reported.get(D1)
    assert told is not None
    assert (told.twin.version, told.received_us) == (7, came)


def test_going_keeps_when_it_was_last_seen(hub: TestHub) -> None:
    hub.add_device("d1")
    presence = Presence(hub.services.store, hub.clock)
    presence.keep([heard(Kind.PRESENCE, Told(True, "boot").dump())])
    seen = hub.clock()
    hub.clock.advance(60)
    presence.keep([heard(Kind.PRESENCE, Told(False).dump())])
    device = hub.services.store.devices.get(D1)
    assert device is not None
    assert (device.online, device.seen_us, device.presence_us) == (False, seen, hub.clock())


def test_one_bad_message_does_not_lose_the_others(hub: TestHub, caplog: pytest.LogCaptureFixture) -> None:
    hub.add_device("d1")
    revoked = hub.add_device("gone")
    hub.services.store.devices.revoke(revoked, hub.clock())
    batch = [
        Heard("nonsense", b"x"),
        heard(Kind.REPORTED, b"not json"),
        heard(Kind.REPORTED, b""),
        heard(Kind.LIVE, b"{}"),
        heard(Kind.REPORTED, Reported(1).dump(), "stranger"),
        heard(Kind.REPORTED, Reported(1).dump(), "gone"),
        heard(Kind.REPORTED, Reported(2).dump()),
    ]
    Presence(hub.services.store, hub.clock).keep(batch)
    assert list(hub.services.store.reported.all()) == ["d1"]
    assert len(caplog.records) == 5


def test_at_the_start_everyone_is_away_until_he_says_otherwise(hub: TestHub) -> None:
    hub.add_device("d1")
    presence = Presence(hub.services.store, hub.clock)
    presence.keep([heard(Kind.PRESENCE, Told(True, "boot").dump())])
    presence.everyone_away()
    assert [device.online for device in hub.services.store.devices.all()] == [False]
