"""Chains of containers that get their secrets at the last moment, and never show them."""

from ._container import Container, container
from ._env_file import env_file
from ._executor import RunError
from ._secret import Secret, secret, set_secret

__all__ = ["Container", "RunError", "Secret", "container", "env_file", "secret", "set_secret"]
