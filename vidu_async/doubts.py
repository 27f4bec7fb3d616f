"""What is in doubt about a request, told before it is sent: as warnings, or as a refusal where they are asked for."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from vidu_async.protocol.errors import ValidationError, ViduWarning
from vidu_async.protocol.validation.links import is_out_of_reach

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vidu_async.protocol.gateway import Gateway
    from vidu_async.protocol.requests import Request, Subject

_OURS = f"{Path(__file__).parent}{os.sep}"


def weigh(request: Request | Subject, gateway: Gateway, *, strict: bool, key: str | None = None) -> None:
    """Tell what a request itself shows that the API may refuse or take without effect.

    Raises:
        ValidationError: there is such a thing, and the client is `strict`.

    """
    model = str(getattr(request, "model", ""))
    known_as, offered = gateway.vidus_name_of(model), bool(gateway.offers(model))
    doubts = (*request.doubts(known_as=known_as, offered=offered), *gateway.doubts(model))
    tell([doubt for doubt in doubts if not (gateway.is_local and _is_about_reach(doubt))], strict=strict, key=key)


def _is_about_reach(doubt: ValidationError) -> bool:
    """Whether whoever tests on this machine is right all the same: called back here, and asking for files here."""
    return doubt.field == "callback_url" or is_out_of_reach(doubt.value)


def tell(doubts: Iterable[ValidationError], *, strict: bool, key: str | None = None) -> None:
    """Warn of doubts, at the line of the caller's that submits.

    Raises:
        ValidationError: there is one, and the client is `strict`.

    """
    for doubt in doubts:
        if strict:
            said = f"{doubt.said} (strict=True)"
            raise ValidationError(said, field=doubt.field, value=doubt.value, allowed=doubt.allowed)
        said = doubt.said if key is None else f"{key}: {doubt.said}"
        warnings.warn(said, ViduWarning, stacklevel=_depth_of_caller())


def _depth_of_caller() -> int:
    """Return the `stacklevel` of the first frame outside this package, for a warning given by the caller of this."""
    depth, frame = 1, sys._getframe(1)  # noqa: SLF001 - as the warnings module itself does
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        depth, frame = depth + 1, frame.f_back
    return depth
