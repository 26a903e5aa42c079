"""Rehearsals on one machine: real agents, faulty links, and the story that the README tells."""
