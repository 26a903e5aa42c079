"""Wheelhouses: all that a board needs to install the agent without internet, and how a hub finds what it has."""
