"""What routes are given: the hub's services, and the person who asks with at least the named role."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from sprat.hub.access import Require
from sprat.hub.fleet.logins import Person
from sprat.hub.services import Services
from sprat.hub.store.rows import Role


def _services(connection: HTTPConnection) -> Services:
    services: Services = connection.app.state.services
    return services


Hub = Annotated[Services, Depends(_services)]
Viewer = Annotated[Person, Depends(Require(Role.VIEWER))]
Operator = Annotated[Person, Depends(Require(Role.OPERATOR))]
Admin = Annotated[Person, Depends(Require(Role.ADMIN))]
