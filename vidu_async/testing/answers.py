"""What the service says about a task, an account, a subject: the JSON bodies, field by field.

Exactly the fields that recorded answers have, which is not always what a page's table lists.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from vidu_async.testing import timestamps
from vidu_async.testing.account import SUBJECT_PRICE, Account, StoredSubject, Task
from vidu_async.testing.links import COVER_LIFE, Links
from vidu_async.testing.media import echoed
from vidu_async.testing.results import film, film_size, picture
from vidu_async.testing.rules import IMAGE_ENDPOINT

_TYPES: Final = {"start-end2video": "headtailimg2video", "reference2video": "character2video"}
_FRAMES_PER_SECOND: Final = 24


def _type(task: Task) -> str:
    return _TYPES.get(task.endpoint, task.endpoint)


def _images(task: Task, links: Links) -> list[str]:
    return [echoed(image, links.base_url) for image in task.order.media]


def created(task: Task, links: Links) -> dict[str, Any]:
    """Return the answer to a creation."""
    if task.endpoint == IMAGE_ENDPOINT:
        return _image_created(task, links)
    order, request = task.order, task.request
    return {
        "task_id": task.id,
        "type": _type(task),
        "state": task.state,
        "model": order.model,
        "style": request.get("style", "general"),
        "prompt": request.get("prompt", ""),
        "images": _images(task, links),
        "duration": order.duration,
        "seed": task.seed,
        "aspect_ratio": order.aspect_ratio,
        "resolution": order.resolution,
        "movement_amplitude": request.get("movement_amplitude", "auto"),
        "created_at": timestamps.write(task.created_at),
        "credits": task.credits,
        "payload": task.payload,
        "cus_priority": 0,
        "off_peak": request.get("off_peak", False),
        "watermark": request.get("watermark", False),
        "is_rec": request.get("is_rec", False),
        "wm_position": order.wm_position,
        "wm_url": request.get("wm_url", ""),
        "meta_data": request.get("meta_data", ""),
        "client_request_id": request.get("client_request_id", ""),
    }


def _image_created(task: Task, links: Links) -> dict[str, Any]:
    return {
        "task_id": task.id,
        "state": task.state,
        "model": task.model,
        "prompt": task.request["prompt"],
        "images": _images(task, links),
        "seed": task.seed,
        "aspect_ratio": task.order.aspect_ratio,
        "callback_url": task.request.get("callback_url", ""),
        "payload": task.payload,
        "cus_priority": 0,
        "credits": task.credits,
        "created_at": timestamps.write(task.created_at),
        "watermark": False,
    }


def queried(task: Task, links: Links, now: float) -> dict[str, Any]:
    """Return the answer to a query; its links are signed at `now`."""
    return {
        "id": task.id,
        "state": task.state,
        "err_code": task.err_code,
        "credits": task.credits,
        "payload": task.payload,
        "bgm": task.request.get("bgm", False),
        "off_peak": task.request.get("off_peak", False),
        "creations": _creations(task, links, now),
    }


def row(task: Task, links: Links, now: float) -> dict[str, Any]:
    """Return a task as the list shows it: without payload and err_code."""
    return {
        "id": task.id,
        "key_id": "1",
        "type": _type(task),
        "template": "",
        "model": task.model,
        "prompt": task.request.get("prompt", ""),
        "images": _images(task, links),
        "duration": task.order.duration,
        "resolution": task.order.resolution,
        "aspect_ratio": task.order.aspect_ratio,
        "state": task.state,
        "creations": _creations(task, links, now),
        "created_at": timestamps.write(task.created_at),
        "credits": task.credits,
    }


def _creations(task: Task, links: Links, now: float) -> list[dict[str, Any]]:
    if task.state != "success":
        return []
    root = f"/results/{quote(task.id, safe='')}"
    creation: dict[str, Any] = {"id": str(task.number + 1)}
    creation["url"] = links.sign(f"{root}/{_name(task)}", now)
    creation["cover_url"] = links.sign(f"{root}/cover.png", now, COVER_LIFE)
    marked = links.sign(f"{root}/watermarked.mp4", now) if task.request.get("watermark") else ""
    creation["watermarked_url"] = marked
    if task.endpoint != IMAGE_ENDPOINT:
        creation["video"] = _video(task)
    return [creation]


def _name(task: Task) -> str:
    return "image.png" if task.endpoint == IMAGE_ENDPOINT else "general.mp4"


def _video(task: Task) -> dict[str, Any]:
    width, height = film_size(task.order.resolution, task.order.aspect_ratio)
    return {
        "duration": float(task.order.duration),
        "fps": _FRAMES_PER_SECOND,
        "resolution": {"width": width, "height": height},
    }


def content(task: Task, name: str) -> bytes:
    """Return the bytes behind the result link called `name`."""
    if name.endswith(".mp4"):
        return film(task.id if name == "general.mp4" else f"{task.id} {name}")
    return picture(f"{task.id} {name}", task.order.aspect_ratio)


def credits_left(account: Account, *, show_detail: bool) -> dict[str, Any]:
    """Return the answer about the account; packages only with `show_detail`."""
    remains = {
        "type": "metered",
        "credit_remain": account.credits,
        "concurrency_limit": account.concurrency,
        "current_concurrency": account.running,
        "queue_count": account.waiting,
    }
    package = {
        "id": "1",
        "name": "simulator",
        "type": "metered",
        "concurrency": account.concurrency,
        "credit_amount": account.credits + account.charged,
        "credit_remain": account.credits,
        "created_at": timestamps.write(account.opened_at),
        "purchase_at": timestamps.write(account.opened_at),
        "valid_from": timestamps.write(account.opened_at),
        "valid_to": timestamps.write(account.opened_at + 365 * 86_400),
    }
    return {"remains": [remains], "packages": [package] if show_detail else []}


def stored(subject: StoredSubject, links: Links) -> dict[str, Any]:
    """Return a stored subject."""
    request = subject.request
    return {
        "id": subject.id,
        "name": request["name"],
        "images": [echoed(image, links.base_url) for image in request.get("images", ())],
        "videos": [echoed(video, links.base_url) for video in request.get("videos", ())],
        "voice_id": request.get("voice_id", ""),
        "style": "",
        "description": "",
        "credits": SUBJECT_PRICE,
    }
