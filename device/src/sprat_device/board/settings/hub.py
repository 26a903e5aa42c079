"""The way to the hub: `[hub]`."""

from __future__ import annotations

from dataclasses import dataclass

from sprat_device.board.settings import values
from sprat_device.board.settings.entry import setting


@dataclass(frozen=True, slots=True)
class HubSettings:
    """`[hub]`: other ways to the hub than the enrolment told, for a gateway or a relay at the site."""

    url: str = setting("", values.url("https", "http"), "device port; empty is the enrolment's")
    mqtt_host: str = setting("", values.text, "broker; empty is the enrolment's")
    mqtt_port: int = setting(0, values.integer(0, 65535), "broker; 0 is the enrolment's")
