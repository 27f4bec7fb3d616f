"""A gateway's ways, from the other side of the wire: where it is asked, with which key, and what it calls things.

The simulator reads them from the same `Gateway` value with which a client writes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from attrs import evolve, field, frozen

from vidu_async.protocol.gateway import Gateway
from vidu_async.testing import checks
from vidu_async.testing.refusals import refuse_unless
from vidu_async.testing.rules import Order, read_order

_NOWHERE: Final = Gateway(base_url="http://127.0.0.1")
_PLAIN_PATH: Final = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~!$&'()*+,;=:@-]*)+")
"""What every client sends as it is written: nothing to be quoted, no dots to be walked along."""


@frozen
class Ways:
    """What `imitated` does; without it, what both Vidu and most gateways do."""

    imitated: Gateway | None = field(default=None, alias="ways")

    def __attrs_post_init__(self) -> None:
        if self.imitated is None:
            return
        is_gateway = isinstance(self.imitated, Gateway)
        checks.require(is_gateway, "ways", "a Gateway (the name of a dialect goes to dialect)", self.imitated)
        for path in (self.path("tasks"), self.query_path.replace("{id}", "1")):
            checks.require(_PLAIN_PATH.fullmatch(path), "each path of ways", "one that needs no quoting", path)
        has_place = "{id}" in self.query_path or self.query_name
        template = self.imitated.query_path
        fits = has_place and template.count("{id}") == 1
        checks.require(fits, "query_path of ways", "a path with one {id}, or with it as a whole parameter", template)

    @property
    def _gateway(self) -> Gateway:
        return self.imitated or _NOWHERE

    def gateway(self, origin: str) -> Gateway:
        """Return the gateway that a client of this simulator needs. Its callbacks are signed as Vidu's are."""
        signs = self._gateway.signs is not False
        return evolve(self._gateway, base_url=origin + urlsplit(self._gateway.base_url).path, signs=signs)

    def path(self, below: str) -> str:
        """Return the whole path of something below the API root or, with a leading /, below the base URL."""
        return urlsplit(self._gateway.url(below)).path

    @property
    def query_path(self) -> str:
        """The path at which a task is asked about, "{id}" in it unless `query_name` is one."""
        return self.path(self._gateway.query_path)

    @property
    def query_name(self) -> str:
        """The query parameter that holds the id of the task asked about; "" if the path does."""
        pairs = parse_qsl(urlsplit(self._gateway.query_path).query)
        return next((name for name, value in pairs if value == "{id}"), "")

    def has(self, feature: str) -> bool:
        """Whether it has an endpoint that not all have: "lists", "cancels", "credits", "subjects", "uploads"."""
        return getattr(self._gateway, feature) is not False

    def check_key(self, headers: Mapping[str, str], key: str) -> None:
        """Refuse a request without the key in its header, or without the gateway's static headers."""
        gateway = self._gateway
        # Vidu's own sites say Token, gateways say Bearer.
        schemes = ("Token", "Bearer") if self.imitated is None else (gateway.auth_scheme,)
        accepted = {f"{scheme} {key}".strip() for scheme in schemes}
        refuse_unless(headers.get(gateway.auth_header) in accepted, "Unauthorized", "invalid api key")
        for name, value in gateway.headers.items():
            refuse_unless(headers.get(name) == value, "Unauthorized", f"header {name} is not the gateway's")

    def read_order(self, endpoint: str, body: dict[str, Any]) -> Order:
        """Return what `body`, in the gateway's words, orders from `endpoint`. Raises `Refusal`."""
        self._check_subjects(body.get("subjects"))
        name = body.get("model")
        if not isinstance(name, str):
            return read_order(endpoint, body)
        order = read_order(endpoint, body | {"model": self._model(name)})
        return evolve(order, request=body, model=name)

    def _model(self, name: str) -> str:
        """Return Vidu's name of a model, or refuse what the gateway does not offer or calls otherwise."""
        gateway = self._gateway
        by_alias = {alias: model for model, alias in gateway.model_aliases.items()}
        model = by_alias.get(name, name)
        is_offered = not gateway.models or not gateway.models.isdisjoint({name, model})
        is_theirs = name in by_alias or name not in gateway.model_aliases
        refuse_unless(is_offered and is_theirs, "ModelUnavailable", f"model {name} is not offered here")
        return model

    def _check_subjects(self, subjects: object) -> None:
        """Refuse subjects named by another word than the gateway's. Vidu's pages have had both."""
        if self.imitated is None or not isinstance(subjects, list):
            return
        other = {"name": "id", "id": "name"}[self.imitated.subject_key]
        for number, subject in enumerate(subjects):
            is_named = isinstance(subject, dict) and other in subject
            refuse_unless(not is_named, "FieldUnwanted", f"subjects[{number}].{other}")
