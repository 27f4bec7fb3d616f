"""What is in doubt about a request, told before it is sent: as warnings, or as a refusal where they are asked for."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from vidu_async.protocol.errors import ValidationError, ViduWarning

if TYPE_CHECKING:
    from vidu_async.protocol.gateway import Gateway
    from vidu_async.protocol.requests import Request, Subject

_OURS = f"{Path(__file__).parent}{os.sep}"


def weigh(request: Request | Subject, gateway: Gateway, *, strict: bool, key: str | None = None) -> None:
    """Warn of what the API may refuse or take without effect.

    Raises:
        ValidationError: there is such a thing, and the client is `strict`.

    """
    model = str(getattr(request, "model", ""))
    known_as, offered = gateway.vidus_name_of(model), bool(gateway.offers(model))
    for doubt in (*request.doubts(known_as=known_as, offered=offered), *gateway.doubts(model)):
        if doubt.field == "callback_url" and gateway.is_local:
            continue  # whoever tests on this machine is called back there
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
