"""Where Vidu is spoken: its own sites and the gateways that resell it.

A `Gateway` holds everything that differs between them, as a frozen value. It knows no key.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from attrs import evolve, field, frozen

from vidu_async.protocol.errors import ConfigError, ValidationError

_SPACE = re.compile(r"[\s\x00-\x1f\x7f]")
_BRACES = re.compile(r"\{[^}]*\}?|\}")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _base_url(value: str) -> str:
    """Return `scheme://host[:port][/prefix]` without a trailing slash, or say what is wrong with it."""
    if not isinstance(value, str):
        raise ConfigError(f"base_url must be text such as https://api.vidu.com, not {value!r}")
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
    if _SPACE.search(text):
        raise ConfigError(f"base_url {value!r} must not hold spaces or line breaks")
    return text


def _origin(base_url: str) -> tuple[str | None, int]:
    parts = urlsplit(base_url)
    return parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]


def _rooted(value: str) -> str:
    if not isinstance(value, str) or _SPACE.search(value) or "?" in value or "#" in value or "://" in value:
        raise ConfigError(f"api_root must be a path such as /ent/v2, or empty, not {value!r}")
    path = value.strip("/")
    return f"/{path}" if path else ""


_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OURS = frozenset(
    {
        *("accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "host"),
        *("te", "transfer-encoding", "upgrade"),
    }
)
"""Headers that the promise about a paid call depends on."""


def _header_name(_: object, attribute: Any, name: object) -> None:  # noqa: ANN401 - attrs' own generic
    if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name) or name.lower() in _OURS:
        raise ConfigError(f"{attribute.name}: {name!r} is no header that can be set")


def _copied(given: Mapping[str, str]) -> dict[str, str]:
    return dict(given) if isinstance(given, Mapping) else given


def _is_mapping(_: object, attribute: Any, given: object) -> None:  # noqa: ANN401 - attrs' own generic
    if not isinstance(given, dict):
        raise ConfigError(f"{attribute.name} must be a mapping of texts, not {given!r}")
    for name, value in given.items():
        if not (isinstance(name, str) and isinstance(value, str) and name and value):
            raise ConfigError(f"{attribute.name} must map texts to texts; what it has for {name!r} is none")


def _is_known_or_not(_: object, attribute: Any, value: object) -> None:  # noqa: ANN401 - attrs' own generic
    if value is not None and not isinstance(value, bool):
        raise ConfigError(f"{attribute.name} must be True, False, or None to find out, not {value!r}")


def _scheme(_: object, __: object, value: object) -> None:
    if not isinstance(value, str) or (value and not _HEADER_NAME.fullmatch(value)):
        raise ConfigError(f"auth_scheme must be one word such as Bearer, or '' for the key alone, not {value!r}")


def _query_path(_: object, __: object, value: object) -> None:
    if not isinstance(value, str) or _SPACE.search(value) or "#" in value or _BRACES.findall(value) != ["{id}"]:
        raise ConfigError(f"query_path must be a path with {{id}} in it, such as tasks/{{id}}/creations, not {value!r}")


def _headers(_: object, attribute: Any, given: dict[str, str]) -> None:  # noqa: ANN401 - attrs' own generic
    _is_mapping(None, attribute, given)
    if len({name.lower() for name in given}) != len(given):
        raise ConfigError("headers holds a name twice")
    for name, value in given.items():
        _header_name(None, attribute, name)
        if not value.isascii() or not value.isprintable():
            raise ConfigError(f"headers: the value of {name} must be one line of ASCII text")


def _one_of(*words: str) -> Any:  # noqa: ANN401 - as attrs types a validator
    def check(_: object, attribute: Any, value: object) -> None:  # noqa: ANN401 - attrs' own generic
        if value not in words:
            raise ConfigError(f"{attribute.name} must be {' or '.join(map(repr, words))}, not {value!r}")

    return check


def _models(value: object) -> frozenset[str]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigError(f"models must be a collection of names, such as {{'viduq3-turbo'}}, not {value!r}")
    models = list(value)
    if not all(isinstance(model, str) for model in models):
        raise ConfigError(f"models must hold texts, not {models!r}")
    return frozenset(models)


@frozen(kw_only=True)
class Gateway:
    """One place that answers Vidu's API, and its ways.

    `lists`, `cancels`, `credits`, `subjects` and `uploads` say which endpoints it has; None (the default) means: find
    out by asking. Plain http is refused except on this machine, since the key would travel readable; `allow_insecure`
    permits it.

    Raises:
        ConfigError: a setting that cannot work.

    """

    base_url: str = field(converter=_base_url)
    """`scheme://host[:port][/prefix]`, without the API root."""
    api_root: str = field(default="/ent/v2", converter=_rooted)
    auth_header: str = field(default="Authorization", validator=_header_name)
    auth_scheme: str = field(default="Bearer", validator=_scheme)
    """The word before the key in that header; "" sends the key alone."""
    headers: Mapping[str, str] = field(factory=dict, converter=_copied, validator=_headers, hash=False, repr=False)
    """Sent with every request to this gateway, beside the key."""
    query_path: str = field(default="tasks/{id}/creations", validator=_query_path)
    """Where a task is asked about: below the API root or, with a leading /, below `base_url`. May hold a query."""
    lists: bool | None = field(default=None, validator=_is_known_or_not)
    cancels: bool | None = field(default=None, validator=_is_known_or_not)
    credits: bool | None = field(default=None, validator=_is_known_or_not)
    subjects: bool | None = field(default=None, validator=_is_known_or_not)
    uploads: bool | None = field(default=None, validator=_is_known_or_not)
    signs: bool | None = field(default=None, validator=_is_known_or_not)
    """Whether callbacks are signed with its clients' keys; False if with one of its own, None if unknown."""
    models: frozenset[str] = field(default=frozenset(), converter=_models)
    """The models it offers, if it says so: `ViduClient.submit` warns of others."""
    model_aliases: Mapping[str, str] = field(factory=dict, converter=_copied, validator=_is_mapping, hash=False)
    """Its own names of models, by Vidu's."""
    subject_key: str = field(default="name", validator=_one_of("name", "id"))
    """The wire's word for a subject's name: `id` on older gateways."""
    allow_insecure: bool = field(default=False, validator=_is_known_or_not)

    def __attrs_post_init__(self) -> None:
        # A base URL copied from a page often ends with the API root already.
        if self.api_root and self.base_url.endswith(self.api_root):
            object.__setattr__(self, "base_url", self.base_url.removesuffix(self.api_root))
        parts = urlsplit(self.base_url)
        if parts.scheme == "http" and not (self.allow_insecure or _is_loopback(parts.hostname or "")):
            raise ConfigError(
                f"base_url {self.base_url!r} would send the key unencrypted. Use https, or Gateway(allow_insecure=True)"
            )
        if self.auth_header.lower() in {name.lower() for name in self.headers}:
            raise ConfigError(f"headers must not hold {self.auth_header}, which carries the key; pass that as api_key")

    @classmethod
    def kkiai(cls) -> Gateway:
        """The gateway whose pages this library started from, and the default."""
        return cls(base_url="https://www.kkiai.com", signs=False)

    @classmethod
    def vidu(cls) -> Gateway:
        """Vidu itself, overseas. https://platform.vidu.com/docs/introduction."""
        return cls(
            base_url="https://api.vidu.com", auth_scheme="Token", lists=True, cancels=True, uploads=True, signs=True
        )

    @classmethod
    def vidu_cn(cls) -> Gateway:
        """Vidu itself, mainland China. https://platform.vidu.cn/docs/introduction."""
        return cls(
            base_url="https://api.vidu.cn", auth_scheme="Token", lists=True, cancels=True, uploads=True, signs=True
        )

    @classmethod
    def at(cls, base_url: str) -> Gateway:
        """Return the documented gateway of this host, at this URL; else a `Bearer` gateway there."""
        wanted = cls(base_url=base_url)
        for known in DOCUMENTED.values():
            if _origin(known.base_url) == _origin(wanted.base_url):
                is_bare = not urlsplit(wanted.base_url).path
                return known if is_bare else evolve(known, base_url=wanted.base_url)
        return wanted

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine, as a simulator is."""
        return _is_loopback(urlsplit(self.base_url).hostname or "")

    @property
    def is_plain(self) -> bool:
        """Whether plain http is good enough here: for the key itself, or on this machine."""
        return self.is_local or self.base_url.startswith("http://")

    def offers(self, model: str) -> bool | None:
        """Whether it has a model, by Vidu's name or its own; None if it does not say."""
        return not self.models.isdisjoint({model, self.model_aliases.get(model, model)}) if self.models else None

    def vidus_name_of(self, model: str) -> str:
        """Return Vidu's name of a model that may be given by this gateway's own."""
        return next((ours for ours, theirs in self.model_aliases.items() if theirs == model), model)

    def doubts(self, model: str) -> list[ValidationError]:
        """Return the doubt about a model that it does not offer, where it says which it does."""
        if not model or self.offers(model) is not False:
            return []
        said = f"model {model!r} is not among those that {self.base_url} offers: {', '.join(sorted(self.models))}"
        return [ValidationError(said, field="model", value=model, allowed=sorted(self.models))]

    def url(self, path: str) -> str:
        """Return the full URL of a path below the API root; a path with a leading / is below `base_url`."""
        return f"{self.base_url}{path}" if path.startswith("/") else f"{self.base_url}{self.api_root}/{path}"

    def task_path(self, task_id: str, template: str = "") -> str:
        """Return the path of a task; whatever an id contains stays one path segment."""
        try:
            segment = task_id if task_id.isascii() and task_id.isalnum() else quote(task_id, safe="")
        except UnicodeEncodeError:
            segment = ""
        if segment in {"", ".", ".."}:
            raise ConfigError(f"{task_id!r} is no task id")
        return (template or self.query_path).replace("{id}", segment)


# What pages of gateways say of themselves, none of it tried. By host and in the order of the README's table.
DOCUMENTED: Mapping[str, Gateway] = {
    "kkiai": Gateway.kkiai(),  # https://www.kkiai.com
    "Vidu": Gateway.vidu(),  # https://platform.vidu.com/docs/introduction
    "Vidu, mainland China": Gateway.vidu_cn(),  # https://platform.vidu.cn/docs/introduction
    "anyapi": Gateway(base_url="https://www.anyapi.vip"),  # https://docs.anyapi.vip
    "aiid": Gateway(base_url="https://api.aiid.edu.kg", models={"viduq3-turbo"}),  # https://docs.aiid.edu.kg
    "deyunai": Gateway(base_url="https://api.deyunai.com"),
    # https://docs.powertokens.ai, which also has GET /vidu/v1/videos/{id}
    "powertokens": Gateway(base_url="https://api.powertokens.ai/vidu", query_path="tasks/{id}"),
    "octopusx": Gateway(base_url="https://octopusx.ai/vidu", query_path="task/{id}/creations"),  # docs.octopusx.ai
    "deepwl": Gateway(base_url="https://zx1.deepwl.net/vidu", query_path="task/{id}/creations"),  # docs.deepwl.cn
    "kapon": Gateway(base_url="https://models.kapon.cloud/vidu", cancels=True),  # https://docs.rivus.cn
    "hingnet": Gateway(base_url="https://models.hingnet.com.cn/vidu", cancels=True),  # https://docs.hingnet.com.cn
    "302.ai": Gateway(base_url="https://api.302.ai/vidu"),  # https://doc.302.ai
    "novapai": Gateway(base_url="https://api.novapai.ai/router/v1/vidu"),  # https://novapai.ai
    "gpt.ge": Gateway(base_url="https://api.gpt.ge", query_path="/task/{id}"),  # https://gpt.morphogen.top
    "Comfy": Gateway(base_url="https://api.comfy.org/proxy/vidu", api_root=""),  # https://docs.comfy.org
    "Baidu Qianfan": Gateway(  # https://cloud.baidu.com/doc/qianfan
        base_url="https://qianfan.baidubce.com/beta/video/generations/vidu",
        api_root="/v2",
        query_path="creations?task_id={id}",
    ),
}
