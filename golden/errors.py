"""Errors for the user. Every message is one line: what is wrong, where, and what to do."""

from __future__ import annotations


class PopflipError(Exception):
    """Base of every error that Popflip raises for its user."""


class ConfigError(PopflipError, ValueError):
    """A parameter cannot be used. The message names it, its value and the values it may have."""
