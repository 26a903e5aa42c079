"""Sprat: train, quantize, sign and ship models to fleets of small computers, and keep them healthy there."""
