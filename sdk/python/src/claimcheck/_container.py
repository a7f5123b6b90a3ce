"""A chain of containers.

Every verb gives a new chain and leaves the old one as it was; nothing runs until a result is asked for, and then the
chain is a plan for an executor.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Optional, Union

from ._executor import run
from ._host_files import read_file, read_folder
from ._secret import Secret, reference_of, value_beside

_Read = Callable[[], "list[dict[str, Any]]"]


@dataclass(frozen=True)
class _MountedSecret:
    secret: Secret
    mode: Optional[str]
    owner: Optional[str]


@dataclass(frozen=True)
class _Setting:
    """What holds for every command from here on."""

    # A text, None for a variable that is taken away, or a secret.
    variables: dict[str, Union[str, Secret, None]] = field(default_factory=dict)
    secret_files: dict[str, _MountedSecret] = field(default_factory=dict)
    volumes: dict[str, dict[str, Any]] = field(default_factory=dict)
    entrypoint: Optional[Sequence[str]] = None
    user: Optional[str] = None
    workdir: Optional[str] = None


@dataclass(frozen=True)
class _Exec:
    args: Sequence[str]
    stdin: Optional[Secret]
    use_entrypoint: bool
    network: Optional[str]
    timeout: Optional[str]
    setting: _Setting
    files: tuple[_Read, ...]


@dataclass(frozen=True)
class Container:
    """A chain; container() begins one."""

    _image: Optional[str] = None
    # By the registries' addresses: as whom, and with which password.
    _logins: dict[str, tuple[str, Secret]] = field(default_factory=dict)
    _execs: tuple[_Exec, ...] = ()
    _setting: _Setting = _Setting()
    # Copied when the next command runs, and only read then.
    _files: tuple[_Read, ...] = ()

    def from_(self, address: str) -> Container:
        """Starts from an image, as podman and docker name them."""
        return replace(self, _image=address)

    def with_exec(
        self,
        args: Sequence[str],
        *,
        stdin: Optional[Secret] = None,
        use_entrypoint: bool = False,
        network: Optional[str] = None,
        timeout: Optional[str] = None,
    ) -> Container:
        """Runs a command; without arguments the image's own.

        stdin is a secret that the command reads from its standard input. use_entrypoint puts the entrypoint, the
        chain's or the image's, before the arguments. The network is "none" without one; a timeout is such as "90s".
        """
        added = _Exec(list(args), stdin, use_entrypoint, network, timeout, self._setting, self._files)
        return replace(self, _execs=(*self._execs, added), _files=())

    def with_env_variable(self, name: str, value: str) -> Container:
        """Sets a variable."""
        return self._with_variable(name, value)

    def without_env_variable(self, name: str) -> Container:
        """Takes a variable away, be it the image's."""
        return self._with_variable(name, None)

    def with_secret_variable(self, name: str, secret: Secret) -> Container:
        """Sets a variable to a secret."""
        return self._with_variable(name, secret)

    def with_secret_variables(self, secrets: Iterable[Secret]) -> Container:
        """Sets variables to these secrets, each under its name: those of env_file."""
        return self._set(variables={**self._setting.variables, **{secret.name: secret for secret in secrets}})

    def without_secret_variable(self, name: str) -> Container:
        """Takes such a variable away."""
        variables = self._setting.variables
        kept = {key: value for key, value in variables.items() if key != name or not isinstance(value, Secret)}
        return self._set(variables=kept)

    def with_mounted_secret(
        self, path: str, secret: Secret, *, mode: Optional[str] = None, owner: Optional[str] = None
    ) -> Container:
        """Gives commands a secret as a file, in memory; root's with mode 0400 if nothing else is said."""
        mounted = _MountedSecret(secret, mode, owner)
        return self._set(secret_files={**self._setting.secret_files, path: mounted})

    def with_workdir(self, path: str) -> Container:
        """Sets the folder that commands run in."""
        return self._set(workdir=path)

    def with_user(self, user: str) -> Container:
        """Sets who runs the commands: USER[:GROUP], by name or number."""
        return self._set(user=user)

    def with_mounted_directory(self, path: str, source: str, *, read_only: bool = False) -> Container:
        """Shares a folder or file of the executor's host."""
        volume = {"source": os.path.abspath(source), "target": path, **({"readOnly": True} if read_only else {})}
        return self._set(volumes={**self._setting.volumes, path: volume})

    def with_file(
        self, path: str, source: str, *, mode: Optional[str] = None, owner: Optional[str] = None
    ) -> Container:
        """Copies a file of this host."""
        return self._copy(lambda: read_file(path, source, mode, owner))

    def with_directory(self, path: str, source: str, *, owner: Optional[str] = None) -> Container:
        """Copies a folder of this host."""
        return self._copy(lambda: read_folder(path, source, owner))

    def with_registry_auth(self, address: str, username: str, secret: Secret) -> Container:
        """Logs in at a registry, such as registry.example:5000, when the image has to be pulled."""
        return replace(self, _logins={**self._logins, address: (username, secret)})

    def with_entrypoint(self, args: Sequence[str]) -> Container:
        """Sets what use_entrypoint puts before the arguments of commands."""
        return self._set(entrypoint=list(args))

    async def stdout(self) -> str:
        """What the last command printed. Raises RunError when a command fails."""
        return (await run(self.request("stdout"), "stdout")).stdout

    async def stderr(self) -> str:
        """What the last command printed on standard error. Raises RunError when a command fails."""
        return (await run(self.request("stderr"), "stderr")).stderr

    async def exit_code(self) -> int:
        """The last command's. Raises RunError when one before it fails."""
        return (await run(self.request("exitCode"), "exitCode")).exit_code

    async def sync(self) -> Container:
        """Runs the chain. Raises RunError when a command fails."""
        await run(self.request("sync"), "sync")
        return self

    async def publish(self, address: str) -> str:
        """Runs the chain, and pushes an image of what it left to the registry that the name begins with.

        Returns the name. Raises RunError when a command fails, or a secret is in what it left.
        """
        await run(self.request("sync", publish=address), "sync")
        return address

    def request(self, want: str, *, publish: Optional[str] = None) -> dict[str, Any]:
        """What an executor would be sent for "stdout", "stderr", "exitCode" or "sync", and with publish to push an
        image: a plan, and the values of set_secret beside it, in base64. Nothing runs."""
        if self._image is None:
            raise ValueError("the chain has no image to start from")
        if not self._execs:
            raise ValueError("the chain runs no command that could have a result")
        steps = [_step(each) for each in self._execs]
        logins = [
            {"address": address, "user": username, "password": reference_of(password)}
            for address, (username, password) in self._logins.items()
        ]
        plan = {
            "version": 1,
            "image": self._image,
            **({"registryAuth": logins} if logins else {}),
            "steps": steps,
            "want": want,
            **({} if publish is None else {"publish": publish}),
        }
        passwords = [password for _, password in self._logins.values()]
        values = _values([*passwords, *(secret for each in self._execs for secret in _secrets(each))])
        return {"plan": plan, **({"values": values} if values else {})}

    def _set(self, **change: Any) -> Container:
        return replace(self, _setting=replace(self._setting, **change))

    def _with_variable(self, name: str, value: Union[str, Secret, None]) -> Container:
        return self._set(variables={**self._setting.variables, name: value})

    def _copy(self, read: _Read) -> Container:
        return replace(self, _files=(*self._files, read))


def container() -> Container:
    """An empty chain; from_ comes next."""
    return Container()


def _step(each: _Exec) -> dict[str, Any]:
    setting = each.setting
    own_command = each.use_entrypoint or not each.args
    entrypoint = setting.entrypoint if own_command else []
    variables = sorted(setting.variables.items(), key=lambda item: item[0].encode())
    fields = {
        "args": each.args or None,
        "entrypoint": entrypoint,
        "env": {name: value for name, value in variables if not isinstance(value, Secret)} or None,
        "secretEnv": {name: reference_of(value) for name, value in variables if isinstance(value, Secret)} or None,
        "secretFiles": [_secret_file(path, mounted) for path, mounted in setting.secret_files.items()] or None,
        "secretStdin": each.stdin and reference_of(each.stdin),
        "user": setting.user,
        "workdir": setting.workdir,
        "volumes": list(setting.volumes.values()) or None,
        "files": [placed for read in each.files for placed in read()] or None,
        "network": each.network,
        "timeout": each.timeout,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _secret_file(path: str, mounted: _MountedSecret) -> dict[str, Any]:
    reference = reference_of(mounted.secret)
    which = {"uri": reference} if isinstance(reference, str) else reference
    said = {"mode": mounted.mode, "owner": mounted.owner}
    return {"path": path, **which, **{name: value for name, value in said.items() if value is not None}}


def _secrets(each: _Exec) -> list[Secret]:
    setting = each.setting
    return [
        *(value for value in setting.variables.values() if isinstance(value, Secret)),
        *(mounted.secret for mounted in setting.secret_files.values()),
        *([each.stdin] if each.stdin else []),
    ]


def _values(secrets: Iterable[Secret]) -> dict[str, str]:
    values: dict[str, str] = {}
    for secret in dict.fromkeys(secrets):
        value = value_beside(secret)
        if value is None:
            continue
        if secret.name in values:
            raise ValueError(f"two secrets were set with the name {secret.name}")
        values[secret.name] = base64.b64encode(value).decode()
    return dict(sorted(values.items(), key=lambda item: item[0].encode()))
