"""What the machine is: its files, clock, health, settings and identity."""
