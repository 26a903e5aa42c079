"""Thin HTTP: parameters in, a call down, plain JSON out. Every route declares who may use it."""
