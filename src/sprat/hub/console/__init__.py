"""The fleet console: pages that read without JavaScript, and one WebSocket that keeps their values current."""

from sprat.hub.console.routes import console_router

__all__ = ["console_router"]
