"""Where Vidu is spoken: its own sites and the gateways that resell it.

A `Gateway` holds everything that differs between them, as a frozen value. It knows no key.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import quote, urlsplit

from attrs import evolve, field, frozen

from vidu_async.protocol.errors import ConfigError


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _base_url(value: str) -> str:
    """Return `scheme://host[:port][/prefix]` without a trailing slash, or say what is wrong with it."""
    text = value.strip().rstrip("/")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        shown = value if "@" not in value else "with a user name"
        raise ConfigError(f"base_url {shown!r} is not a URL: {error}") from None
    if parts.username or parts.password:
        raise ConfigError("base_url must not hold a user name or password; pass the key as api_key")
    if parts.scheme not in {"http", "https"} or not host:
        raise ConfigError(f"base_url {value!r} must look like https://api.vidu.com")
    if "?" in text or "#" in text:
        raise ConfigError(f"base_url {value!r} must end with the path, without ? or #")
    return text


def _origin(base_url: str) -> tuple[str | None, int]:
    parts = urlsplit(base_url)
    return parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]


def _rooted(value: str) -> str:
    path = value.strip("/")
    return f"/{path}" if path else ""


@frozen(kw_only=True)
class Gateway:
    """One place that answers Vidu's API, and its ways.

    `lists` and `cancels` say whether it can list and cancel tasks; None (the default) means: find out by asking.
    Plain http is refused except on this machine, since the key would travel readable; `allow_insecure` permits it.
    """

    base_url: str = field(converter=_base_url)
    api_root: str = field(default="/ent/v2", converter=_rooted)
    auth_scheme: str = "Bearer"
    """The word before the key in the Authorization header; "" sends the key alone."""
    query_path: str = "tasks/{id}/creations"
    lists: bool | None = None
    cancels: bool | None = None
    allow_insecure: bool = False

    def __attrs_post_init__(self) -> None:
        # A base URL copied from a page often ends with the API root already.
        if self.api_root and self.base_url.endswith(self.api_root):
            object.__setattr__(self, "base_url", self.base_url.removesuffix(self.api_root))
        parts = urlsplit(self.base_url)
        if parts.scheme == "http" and not (self.allow_insecure or _is_loopback(parts.hostname or "")):
            raise ConfigError(
                f"base_url {self.base_url!r} would send the key unencrypted. Use https, or allow_insecure=True"
            )
        if "{id}" not in self.query_path:
            raise ConfigError(f"query_path {self.query_path!r} must contain {{id}}")

    @classmethod
    def kkiai(cls) -> Gateway:
        """The gateway whose pages this library started from, and the default."""
        return cls(base_url="https://www.kkiai.com")

    @classmethod
    def vidu(cls) -> Gateway:
        """Vidu itself, overseas. https://platform.vidu.com/docs/introduction."""
        return cls(base_url="https://api.vidu.com", auth_scheme="Token", lists=True, cancels=True)

    @classmethod
    def vidu_cn(cls) -> Gateway:
        """Vidu itself, mainland China. https://platform.vidu.cn/docs/introduction."""
        return cls(base_url="https://api.vidu.cn", auth_scheme="Token", lists=True, cancels=True)

    @classmethod
    def at(cls, base_url: str) -> Gateway:
        """Return the preset of this host, else a `Bearer` gateway there."""
        wanted = cls(base_url=base_url)
        for preset in (cls.kkiai(), cls.vidu(), cls.vidu_cn()):
            if _origin(preset.base_url) == _origin(wanted.base_url):
                return evolve(preset, base_url=wanted.base_url)
        return wanted

    def url(self, path: str) -> str:
        """Return the full URL of a path below the API root."""
        return f"{self.base_url}{self.api_root}/{path}"

    def task_path(self, task_id: str, template: str = "") -> str:
        """Return the path of a task; whatever an id contains stays one path segment."""
        try:
            segment = quote(task_id, safe="")
        except UnicodeEncodeError:
            segment = ""
        if segment in {"", ".", ".."}:
            raise ConfigError(f"{task_id!r} is no task id")
        return (template or self.query_path).replace("{id}", segment)
