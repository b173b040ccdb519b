"""Helpers for the tests of this program and of plug-ins for it."""
