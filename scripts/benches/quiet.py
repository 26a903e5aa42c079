"""A reporter of a rehearsal that keeps stdout for the table."""

from __future__ import annotations

import sys

from sprat.lab.stage import Figure


class Quiet:
    """Says on stderr what is done, and leaves the story's figures to the story."""

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self.say(title)

    def say(self, line: str) -> None:
        """Tell what is done right now."""
        print(f"   {line}", file=sys.stderr)

    def figure(self, figure: Figure) -> None:
        """Leave it."""
