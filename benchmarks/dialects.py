"""What each service says of a job: just created, not finished yet, finished. As short as the answers really are.

`{id}`, `{root}` (the service's URL), `{payload}` and `{born}` are filled in by the server.
"""

from __future__ import annotations

import json
from typing import Any, cast

from attrs import field, frozen

Body = dict[str, Any]


def _bytes(body: Body) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode() if body else b""


@frozen
class Dialect:
    """The answers of one service. `result` is for those that keep the result elsewhere than the state."""

    created: bytes = field(converter=_bytes)
    waiting: bytes = field(converter=_bytes)
    done: bytes = field(converter=_bytes)
    result: bytes = field(converter=_bytes, default=cast("bytes", {}))


_AT = "2026-11-21T10:00:00Z"
_LINK = "https://cdn.example/results/{id}/general.mp4?X-Amz-Date=20261121T100000Z&X-Amz-Expires=86400&X-Amz-Signature=0"
_PROMPT = "the fox runs"

_VIDU_CREATED: Body = {
    "task_id": "{id}",
    "type": "text2video",
    "state": "created",
    "model": "viduq3-turbo",
    "style": "general",
    "prompt": _PROMPT,
    "images": [],
    "duration": 5,
    "seed": 1,
    "aspect_ratio": "16:9",
    "resolution": "720p",
    "movement_amplitude": "auto",
    "created_at": "{born}",
    "credits": 20,
    "payload": "{payload}",
    "off_peak": False,
    "watermark": False,
}
_VIDU_QUERIED: Body = {
    "id": "{id}",
    "state": "processing",
    "err_code": "",
    "credits": 20,
    "payload": "{payload}",
    "bgm": False,
    "off_peak": False,
    "creations": [],
}
_VIDU_ROW: Body = {
    "id": "{id}",
    "key_id": "1",
    "type": "text2video",
    "template": "",
    "model": "viduq3-turbo",
    "prompt": _PROMPT,
    "images": [],
    "duration": 5,
    "resolution": "720p",
    "aspect_ratio": "16:9",
    "state": "processing",
    "creations": [],
    "created_at": "{born}",
    "credits": 20,
}
_VIDU_FILM: Body = {
    "id": "1",
    "url": _LINK,
    "cover_url": _LINK,
    "watermarked_url": "",
    "video": {"duration": 5.0, "fps": 24, "resolution": {"width": 1280, "height": 720}},
}
ROWS = Dialect({}, _VIDU_ROW, _VIDU_ROW | {"state": "success", "creations": [_VIDU_FILM]})
"""A task in Vidu's list. https://platform.vidu.com/docs/tasks-list"""

_FAL: Body = {
    "request_id": "{id}",
    "response_url": "{root}/requests/{id}",
    "status_url": "{root}/requests/{id}/status",
    "cancel_url": "{root}/requests/{id}/cancel",
}
_REPLICATE: Body = {
    "id": "{id}",
    "model": "owner/name",
    "version": "v1",
    "input": {"prompt": _PROMPT},
    "status": "starting",
    "created_at": _AT,
    "logs": "",
    "error": None,
    "output": None,
    "urls": {"get": "{root}/v1/predictions/{id}", "cancel": "{root}/v1/predictions/{id}/cancel"},
}
_RUNWAY: Body = {"id": "{id}", "createdAt": _AT, "estimatedCost": {"credits": 20}}
_OPENAI: Body = {
    "id": "video_{id}",
    "object": "video",
    "created_at": 1760000000,
    "model": "sora-2",
    "status": "queued",
    "progress": 0,
    "seconds": "4",
    "size": "1280x720",
}
_LUMA: Body = {
    "id": "{id}",
    "created_at": _AT,
    "generation_type": "video",
    "model": "ray-2",
    "state": "dreaming",
    "request": {"model": "ray-2", "generation_type": "video", "prompt": _PROMPT},
}


def _dashscope(**output: str) -> Body:
    return {"request_id": "{id}", "output": {"task_id": "{id}", **output}}


DIALECTS: dict[bytes, Dialect] = {
    b"vidu": Dialect(_VIDU_CREATED, _VIDU_QUERIED, _VIDU_QUERIED | {"state": "success", "creations": [_VIDU_FILM]}),
    b"fal": Dialect(
        _FAL | {"status": "IN_QUEUE", "queue_position": 0},
        _FAL | {"status": "IN_PROGRESS", "logs": None},
        _FAL | {"status": "COMPLETED", "logs": None, "metrics": {"inference_time": 5.0}},
        {"video": {"url": _LINK, "content_type": "video/mp4", "file_name": "general.mp4", "file_size": 1000}},
    ),
    b"replicate": Dialect(
        _REPLICATE, _REPLICATE | {"status": "processing"}, _REPLICATE | {"status": "succeeded", "output": [_LINK]}
    ),
    b"runway": Dialect(
        {"id": "{id}", "estimatedCost": {"credits": 20}},
        _RUNWAY | {"status": "RUNNING", "progress": 0.5},
        _RUNWAY | {"status": "SUCCEEDED", "output": [_LINK], "cost": {"credits": 20}},
    ),
    b"openai": Dialect(
        _OPENAI,
        _OPENAI | {"status": "in_progress", "progress": 50},
        _OPENAI | {"status": "completed", "progress": 100, "completed_at": 1760000060},
    ),
    b"luma": Dialect(_LUMA | {"state": "queued"}, _LUMA, _LUMA | {"state": "completed", "assets": {"video": _LINK}}),
    b"dashscope": Dialect(
        _dashscope(task_status="PENDING"),
        _dashscope(task_status="RUNNING"),
        _dashscope(task_status="SUCCEEDED", video_url=_LINK),
    ),
}
