"""How gateways dress what Vidu says: a table of dialects, and the pure functions it is made of.

Each function turns a body of `answers`, or a refusal, into what such a gateway sends in its place. Vidu's own words:
https://platform.vidu.com/docs/get-generation and https://platform.vidu.com/docs/error-code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from attrs import frozen

from vidu_async.testing.account import Task
from vidu_async.testing.refusals import relay_error
from vidu_async.testing.rules import IMAGE_ENDPOINT

Body = dict[str, Any]
Dress = Callable[[Body, Task], Body]
Refuse = Callable[[int, Body], tuple[int, Body]]

_WORDS: Final = {
    # deepwl and octopusx know three states.
    "short": ("processing", "processing", "processing", "completed", "failed"),
    "openai": ("queued", "queued", "in_progress", "completed", "failed"),
    "new-api": ("SUBMITTED", "QUEUED", "IN_PROGRESS", "SUCCESS", "FAILURE"),
    "vod": ("WAITING", "WAITING", "PROCESSING", "FINISH", "FINISH"),
}
_STATES: Final = ("created", "queueing", "processing", "success", "failed")
_PROGRESS: Final = dict(zip(_STATES, (0, 0, 50, 100, 100), strict=True))
_UNAUTHORIZED: Final = 401
_VOD_FAILURE: Final = 70_000


def _word(family: str, body: Body) -> str:
    return _WORDS[family][_STATES.index(body["state"])]


def _link(body: Body) -> str:
    """Return the link to the result, "" before there is one."""
    return next((creation["url"] for creation in body.get("creations", ())), "")


# What a task is said to be


def _as_is(body: Body, _task: Task) -> Body:
    return body


def _without_id(body: Body, _task: Task) -> Body:
    return {name: value for name, value in body.items() if name != "id"}


def _both_ids(body: Body, task: Task) -> Body:
    return body | {"id": task.id, "task_id": task.id}


def _credits_as_text(body: Body, _task: Task) -> Body:
    return body | {"credits": str(body["credits"])}


def _epoch(body: Body, task: Task) -> Body:
    return body | {"created_at": int(task.created_at)}


def _with_status(body: Body, task: Task) -> Body:
    rest = {name: value for name, value in body.items() if name != "state"}
    return rest | {"status": body["state"], "log_id": f"log-{task.number}"}


def _loud(body: Body, _task: Task) -> Body:
    told: Body = _texts(body)
    told["status"] = told.pop("state").upper()
    return told


def _texts(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return the same with every number and boolean as text."""
    if isinstance(value, dict):
        return {name: _texts(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_texts(item) for item in value]
    return str(value).lower() if isinstance(value, bool | int | float) else value


def _short_created(body: Body, task: Task) -> Body:
    return {"task_id": task.id, "status": _word("short", body), "created_at": int(task.created_at)}


def _short(body: Body, task: Task) -> Body:
    changed_at = task.finished_at or task.started_at or task.created_at
    told = {"id": task.id, "status": _word("short", body), "status_update_time": int(changed_at)}
    return told | {"video_url": _link(body)} if body["state"] == "success" else told


def _openai(body: Body, task: Task) -> Body:
    error = {"code": task.err_code, "message": task.err_code} if body["state"] == "failed" else None
    return {
        "id": task.id,
        "object": "video",
        "model": task.model,
        "status": _word("openai", body),
        "progress": _PROGRESS[body["state"]],
        "created_at": int(task.created_at),
        "error": error,
        "metadata": {"url": link} if (link := _link(body)) else {},
    }


def _openai_created(body: Body, task: Task) -> Body:
    return _openai(body, task) | {"task_id": task.id}


def _wrapped(body: Body, task: Task) -> Body:
    data = {
        "task_id": task.id,
        "status": _word("new-api", body),
        "fail_reason": task.err_code,
        "progress": f"{_PROGRESS[body['state']]}%",
        "data": body,
    }
    return {"code": "success", "message": "", "data": data}


def _wrapped_of_old(body: Body, task: Task) -> Body:
    """Put the link where one would look for the reason of a failure."""
    told = _wrapped(body, task)
    told["data"]["fail_reason"] = task.err_code or _link(body)
    return told


def _vod(body: Body, task: Task) -> Body:
    kind = "AigcImageTask" if task.endpoint == IMAGE_ENDPOINT else "AigcVideoTask"
    link, status = _link(body), _word("vod", body)
    told = {
        "TaskId": task.id,
        "Status": status,
        "ErrCode": _VOD_FAILURE if body["state"] == "failed" else 0,
        "Message": task.err_code,
        "Progress": _PROGRESS[body["state"]],
        "Output": {"FileInfos": [{"FileUrl": link, "StorageMode": "Temporary"}] if link else []},
    }
    created_at = f"{datetime.fromtimestamp(task.created_at, UTC):%Y-%m-%dT%H:%M:%SZ}"
    told_of_all = {"TaskType": kind, "Status": status, "CreateTime": created_at}
    return {"Response": {**told_of_all, kind: told, "RequestId": f"request-{task.number}"}}


# How a refusal is said


def _refused_as_is(status: int, body: Body) -> tuple[int, Body]:
    return status, body


def _refused_in_200(_status: int, body: Body) -> tuple[int, Body]:
    return 200, body


def _refused_barely(status: int, body: Body) -> tuple[int, Body]:
    return status, {"detail": body["message"]}


def _refused_by_middleware(status: int, body: Body) -> tuple[int, Body]:
    told = relay_error(body["message"], body["metadata"]["trace_id"])
    told["error"]["code"] = body["reason"]
    return status, told


def _refused_by_relays(count: int) -> Refuse:
    """Return how relays in a row hand on what upstream said: each as text in a text of its own."""

    def refused(status: int, body: Body) -> tuple[int, Body]:
        # The key is the affair of the relay that the client speaks to.
        if status == _UNAUTHORIZED:
            return status, relay_error(body["message"], body["metadata"]["trace_id"])
        for _ in range(count):
            body = {"code": "fail_to_fetch_task", "message": json.dumps(body), "data": None}
        return status, body

    return refused


def _refused_by_vod(_status: int, body: Body) -> tuple[int, Body]:
    error = {"Code": body["reason"], "Message": body["message"]}
    return 200, {"Response": {"Error": error, "RequestId": body["metadata"]["trace_id"]}}


@frozen(kw_only=True)
class Dialect:
    """How one kind of gateway answers a creation and a query, shows a row of a list, and refuses."""

    created: Dress = _as_is
    queried: Dress = _as_is
    row: Dress = _as_is
    refused: Refuse = _refused_as_is


def _everywhere(dress: Dress) -> Dialect:
    return Dialect(created=dress, queried=dress, row=dress)


DIALECTS: Final[Mapping[str, Dialect]] = {
    # Vidu itself; a query names its id on the Chinese site: platform.vidu.cn/docs/search-task-api
    "vidu": Dialect(),
    # Vidu overseas, whose query has no id: platform.vidu.com/docs/get-generation
    "vidu-com": Dialect(queried=_without_id),
    # id and task_id side by side: docs.aiid.edu.kg
    "aiid": _everywhere(_both_ids),
    # Credits as text: docs.powertokens.ai
    "powertokens": _everywhere(_credits_as_text),
    # Vidu's body, but created_at in epoch seconds: www.dmxapi.cn
    "dmx": Dialect(created=_epoch, row=_epoch),
    # `status` in place of `state`, and a log_id: Baidu Qianfan, cloud.baidu.com/doc/qianfan
    "qianfan": _everywhere(_with_status),
    # Upper-case states in `status`, numbers and booleans as text: no one gateway, the worst of several
    "loud": _everywhere(_loud),
    # Three fields, then a status and a link: docs.octopusx.ai
    "octopusx": Dialect(created=_short_created, queried=_short),
    # The same: docs.deepwl.cn
    "deepwl": Dialect(created=_short_created, queried=_short),
    # An OpenAI video object: octopusx and deepwl at /v1/videos/{id}, and gateways made of new-api
    "openai": Dialect(created=_openai_created, queried=_openai, refused=_refused_by_middleware),
    # Vidu's body inside a wrapper, errors as text in a text: gateways made of new-api, /v1/video/generations
    "new-api": Dialect(created=_openai_created, queried=_wrapped, refused=_refused_by_relays(1)),
    # Older versions of it, with the link in fail_reason
    "new-api-old": Dialect(created=_openai_created, queried=_wrapped_of_old, refused=_refused_by_relays(1)),
    # Vidu's bodies, and errors that came through three such gateways
    "chain": Dialect(refused=_refused_by_relays(3)),
    # Vidu's body at creation, then Tencent VOD's envelope, with errors in HTTP 200: docs.anyapi.vip
    "vod": Dialect(queried=_vod, refused=_refused_by_vod),
    # Vidu's bodies, and its errors in HTTP 200: what its own client looks for
    "errors-in-200": Dialect(refused=_refused_in_200),
    # Vidu's bodies, and errors of one text, in FastAPI's form
    "bare": Dialect(refused=_refused_barely),
}
"""Every dialect, by name."""
