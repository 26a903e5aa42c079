"""Tokens, certificates and revocation: who gets in, once, and how he is put out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.hubs import Applicant, TestHub

from sprat.errors import ContractError, Refused, WrongUse
from sprat.hub.errors import NotFound
from sprat.hub.fleet.enrolment import Wanted
from sprat.hub.services import revoke
from sprat_device.contract.ids import Channel, DeviceId, ModelName
from sprat_device.contract.twin import Reported


def test_a_token_becomes_a_device_with_a_certificate(hub: TestHub) -> None:
    applicant = Applicant()
    joined = hub.services.enrolment.enrol(applicant.request(hub.enrol_token("d1").secret))
    certificate = x509.load_pem_x509_certificate(joined.certificate.pem.encode())
    assert [name.value for name in certificate.subject] == ["d1"]
    assert certificate.public_key() == applicant.key.public_key()
    certificate.verify_directly_issued_by(hub.services.enrolment.authority.certificate)
    assert hub.services.store.devices.get(DeviceId("d1")) == joined.device
    assert hub.services.enrolment.admits("d1", joined.certificate.serial) == joined.device
    assert hub.services.store.audit.latest(1)[0].action == "device.enrol"


def test_the_secret_is_not_kept(hub: TestHub) -> None:
    secret = hub.enrol_token("d1").secret
    hub.services.enrolment.enrol(Applicant().request(secret))
    with hub.services.store.connection() as db:
        dump = "\n".join(db.iterdump())
    assert "d1" in dump
    assert secret not in dump


def test_the_same_key_twice_gets_the_same_answer_even_when_the_token_has_expired(hub: TestHub) -> None:
    applicant, secret = Applicant(), hub.enrol_token("d1").secret
    first = hub.services.enrolment.enrol(applicant.request(secret))
    hub.clock.advance(7200)
    again = hub.services.enrolment.enrol(applicant.request(secret))
    assert again.certificate == first.certificate


def test_another_key_cannot_use_it_again(hub: TestHub) -> None:
    secret = hub.enrol_token("d1").secret
    hub.services.enrolment.enrol(Applicant().request(secret))
    with pytest.raises(Refused, match="used already") as caught:
        hub.services.enrolment.enrol(Applicant().request(secret))
    assert caught.value.code == "token-used"
    assert secret not in str(caught.value)


def test_a_wrong_token_is_refused_and_leaves_nothing(hub: TestHub) -> None:
    with pytest.raises(Refused, match="did not make it") as caught:
        hub.services.enrolment.enrol(Applicant().request("guess"))
    assert caught.value.code == "token-unknown"
    assert hub.services.store.devices.all() == ()


def test_an_expired_token_is_refused(hub: TestHub) -> None:
    secret = hub.enrol_token("d1").secret
    hub.clock.advance(3601)
    with pytest.raises(Refused, match="token-expired"):
        hub.services.enrolment.enrol(Applicant().request(secret))


def test_a_bound_token_gives_no_other_id(hub: TestHub) -> None:
    with pytest.raises(Refused, match="token-bound"):
        hub.services.enrolment.enrol(Applicant().request(hub.enrol_token("d1").secret, "d2"))


def test_an_unbound_token_lets_the_device_ask_or_chooses(hub: TestHub) -> None:
    asked = hub.services.enrolment.enrol(Applicant().request(hub.enrol_token().secret, "wanted"))
    chosen = hub.services.enrolment.enrol(Applicant().request(hub.enrol_token().secret))
    assert asked.device.id == "wanted"
    assert chosen.device.id.startswith("sprat-")


@pytest.mark.parametrize("name", ["hub", "ingest", "../d", "D1", "a" * 64, "d/1", "d+", "#"])
def test_reserved_and_crooked_ids_are_refused(hub: TestHub, name: str) -> None:
    with pytest.raises(ContractError):
        hub.services.enrolment.enrol(Applicant().request(hub.enrol_token().secret, name))


def test_an_id_is_taken_until_its_device_is_revoked(hub: TestHub) -> None:
    secret, other = hub.enrol_token("d1").secret, hub.enrol_token("d1").secret
    old = hub.services.enrolment.enrol(Applicant().request(secret))
    with pytest.raises(Refused, match="id-taken"):
        hub.services.enrolment.enrol(Applicant().request(other))
    with pytest.raises(Refused, match="id-taken"):
        hub.enrol_token("d1")
    revoke(hub.services, DeviceId("d1"), "ann")
    new = hub.services.enrolment.enrol(Applicant().request(other))
    assert new.returned
    assert hub.services.enrolment.admits("d1", old.certificate.serial) is None
    assert hub.services.enrolment.admits("d1", new.certificate.serial) is not None


def test_revoking_tells_the_broker_and_clears_what_is_retained(hub: TestHub) -> None:
    applicant, secret = Applicant(), hub.enrol_token("d1").secret
    joined = hub.services.enrolment.enrol(applicant.request(secret))
    hub.services.store.reported.put(DeviceId("d1"), Reported(1), hub.clock())
    revoke(hub.services, DeviceId("d1"), "ann")
    assert hub.services.store.reported.get(DeviceId("d1")) is None  # another board may come under its id
    assert hub.broker.refused == [("d1",)]
    assert {topic for topic, payload in hub.sent if payload == b""} == {
        "sprat/v1/d1/down/desired", "sprat/v1/d1/up/reported", "sprat/v1/d1/up/presence",
    }  # fmt: skip
    assert hub.services.enrolment.admits("d1", joined.certificate.serial) is None
    crl = x509.load_pem_x509_crl(hub.services.enrolment.revocation_list())
    assert [entry.serial_number for entry in crl] == [int(joined.certificate.serial, 16)]
    with pytest.raises(Refused, match="revoked"):
        hub.services.enrolment.enrol(applicant.request(secret))


def test_nobody_can_be_revoked_who_is_not_there(hub: TestHub) -> None:
    with pytest.raises(NotFound, match="not in the fleet"):
        revoke(hub.services, DeviceId("ghost"), "ann")


def test_a_certificate_is_good_for_its_own_name_only(hub: TestHub) -> None:
    joined = hub.services.enrolment.enrol(Applicant().request(hub.enrol_token("d1").secret))
    hub.services.enrolment.enrol(Applicant().request(hub.enrol_token("d2").secret))
    assert hub.services.enrolment.admits("d2", joined.certificate.serial) is None


def test_damaged_requests_are_one_line(hub: TestHub) -> None:
    secret, applicant = hub.enrol_token("d1").secret, Applicant()
    lines = applicant.csr().splitlines()
    lines[-2] = lines[-2][:-8] + ("A" * 6 + "==" if lines[-2].endswith("==") else "A" * 8)
    for csr in ("", "no pem", "\n".join(lines), applicant.csr().replace("REQUEST", "CERTIFICATE")):
        with pytest.raises(ContractError, match="enrol again"):
            hub.services.enrolment.enrol(replace(applicant.request(secret), csr=csr))


def test_another_kind_of_key_is_refused(hub: TestHub) -> None:
    applicant = Applicant(rsa.generate_private_key(65537, 2048))  # type: ignore[arg-type]
    with pytest.raises(ContractError, match="ECDSA P-256"):
        hub.services.enrolment.enrol(applicant.request(hub.enrol_token("d1").secret))


@pytest.mark.parametrize("life", [timedelta(0), timedelta(days=31)])
def test_a_token_is_short_lived(hub: TestHub, life: timedelta) -> None:
    wanted = Wanted(Channel("canary"), (ModelName("digits"),), life=life)
    with pytest.raises(WrongUse, match="life"):
        hub.services.enrolment.make_token(wanted, hub.services.releases.root_sha256(), "ann")


def test_a_token_names_models(hub: TestHub) -> None:
    with pytest.raises(WrongUse, match="--model"):
        hub.enrol_token(models=())
