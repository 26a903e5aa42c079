"""Renewing a certificate: the same key, an end further away, a grace, and nobody who was put out."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from tests.hubs import Applicant, TestHub

from sprat.errors import ContractError, Refused
from sprat.hub.fleet.identity import DEVICE_LIFE
from sprat.hub.fleet.renewal import renew
from sprat.hub.services import revoke
from sprat_device.contract.ids import DeviceId
from sprat_device.contract.renewal import GRACE_S, RenewRequest

DEVICE = DeviceId("d1")
GRACE = timedelta(seconds=GRACE_S)


@pytest.fixture
def applicant() -> Applicant:
    return Applicant()


@pytest.fixture
def serial(hub: TestHub, applicant: Applicant) -> str:
    return hub.services.enrolment.enrol(applicant.request(hub.enrol_token("d1").secret)).certificate.serial


def test_a_new_certificate_for_the_same_key_and_the_old_one_stays_good(
    hub: TestHub, applicant: Applicant, serial: str
) -> None:
    hub.clock.advance(DEVICE_LIFE.total_seconds() * 2 / 3)
    made = renew(hub.services.enrolment, DEVICE, serial, RenewRequest(applicant.csr("whoever")))
    certificate = x509.load_pem_x509_certificate(made.pem.encode())
    assert [name.value for name in certificate.subject] == ["d1"]
    assert certificate.public_key() == applicant.key.public_key()
    for good in (serial, made.serial):
        assert hub.services.enrolment.admits("d1", good) is not None
    latest = hub.services.store.audit.latest(1)[0]
    assert (latest.action, latest.detail["replaces"]) == ("device.renew", serial)


def test_asked_again_or_too_early_it_gives_the_newest(hub: TestHub, applicant: Applicant, serial: str) -> None:
    wanted = RenewRequest(applicant.csr())
    assert renew(hub.services.enrolment, DEVICE, serial, wanted).serial == serial
    hub.clock.advance(DEVICE_LIFE.total_seconds() * 2 / 3)
    made = renew(hub.services.enrolment, DEVICE, serial, wanted)
    assert made.serial != serial
    assert renew(hub.services.enrolment, DEVICE, serial, wanted) == made  # the answer was lost on the way
    assert renew(hub.services.enrolment, DEVICE, made.serial, wanted) == made


def test_an_ended_certificate_is_good_for_its_renewal_within_the_grace(
    hub: TestHub, applicant: Applicant, serial: str
) -> None:
    admits = hub.services.enrolment.admits
    hub.clock.advance(DEVICE_LIFE.total_seconds() - 1)
    assert admits("d1", serial)
    hub.clock.advance(1)
    assert admits("d1", serial) is None
    assert admits("d1", serial, grace=GRACE)
    made = renew(hub.services.enrolment, DEVICE, serial, RenewRequest(applicant.csr()))
    assert admits("d1", made.serial)
    hub.clock.advance(GRACE_S)
    assert admits("d1", serial, grace=GRACE) is None


def test_who_was_revoked_is_refused_grace_or_not(hub: TestHub, applicant: Applicant, serial: str) -> None:
    revoke(hub.services, DEVICE, "ann")
    assert hub.services.enrolment.admits("d1", serial, grace=GRACE) is None


def test_another_key_is_refused(hub: TestHub, serial: str) -> None:
    hub.clock.advance(DEVICE_LIFE.total_seconds() * 2 / 3)
    with pytest.raises(Refused, match="another key"):
        renew(hub.services.enrolment, DEVICE, serial, RenewRequest(Applicant().csr()))
    with pytest.raises(ContractError, match="CSR"):
        renew(hub.services.enrolment, DEVICE, serial, RenewRequest("-----"))
