"""Typed read models for the console and the API: what the stores hold, put together for a reader, without HTML."""
