"""Secrets as a chain names them. What one is worth is known to the broker, and in the end to the container."""

from __future__ import annotations

from typing import NoReturn, Optional, Union
from weakref import WeakKeyDictionary

Reference = Union[str, "dict[str, str]"]

_EXPLANATION = (
    "a secret has no plaintext in a front end: the executor gets the value when the container starts, "
    "and only the container sees it"
)


class Secret:
    """The name of a secret. There is no way from it to the value."""

    __slots__ = ("__weakref__", "_name", "_reference")

    def __init__(self, name: str, reference: Reference) -> None:
        self._name = name
        self._reference = reference

    @property
    def name(self) -> str:
        """Its URI, or the name it was set with."""
        return self._name

    def plaintext(self) -> NoReturn:
        """Always raises, and says why."""
        raise TypeError(_EXPLANATION)

    def __str__(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return f"Secret({self._name})"


# What set_secret was given, on its way to the executor.
_values: WeakKeyDictionary[Secret, bytes] = WeakKeyDictionary()


def secret(uri: str, *, cache_key: Optional[str] = None) -> Secret:
    """A secret by its URI: env://NAME, file://PATH, cmd://COMMAND, op://VAULT/ITEM/FIELD, vault://PATH#FIELD, aws+sm://NAME[?field=FIELD], aws+ps://NAME, libsecret://COLLECTION/ITEM.

    cache_key is a name that stands for the value in caches.
    """
    return Secret(uri, uri if cache_key is None else {"uri": uri, "cacheKey": cache_key})


def set_secret(name: str, value: Union[str, bytes]) -> Secret:
    """A secret that this program has the value of. It goes to the executor beside the plan, never in it.

    What os.environ has of bytes that are not UTF-8 becomes those bytes again.
    """
    made = Secret(name, {"value": name})
    _values[made] = value.encode(errors="surrogateescape") if isinstance(value, str) else bytes(value)
    return made


def reference_of(named: Secret) -> Reference:
    """How a plan calls it."""
    return named._reference


def value_beside(named: Secret) -> Optional[bytes]:
    """What goes beside a plan for this secret, if something does."""
    return _values.get(named)
