"""Who gets which release, when: waves with gates, stepped by a pure machine."""
