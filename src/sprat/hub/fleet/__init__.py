"""Who is in the fleet: identity, enrolment, people, twins, presence."""
