"""The server: fleet, releases, rollouts, telemetry and console over one folder."""
