"""The JSON that the gateway's pages print: a request and a response per endpoint, and the names in their tables.

Comments and trailing commas, which are no JSON, are left out. The page about start and end frames prints a response
where its request should be.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen


def words(text: str) -> tuple[str, ...]:
    """Return the words of a text."""
    return tuple(text.split())


@frozen
class SourcePage:
    """One page: what it prints, and the fields that its tables name."""

    endpoint: str
    fields: tuple[str, ...]
    """Of the request."""
    request: dict[str, Any]
    answered: tuple[str, ...]
    """Fields of the response."""
    response: dict[str, Any]


SUBJECT_FIELDS = words("name images videos voice_id server_id")
"""What the table of reference2video says of each subject."""

IMAGE_TO_VIDEO = SourcePage(
    endpoint="img2video",
    fields=words(
        "model images prompt audio voice_id is_rec duration seed resolution movement_amplitude payload off_peak "
        "watermark wm_position wm_url meta_data callback_url"
    ),
    request={
        "model": "viduq2-pro",
        "images": ["https://imageproxy.zhongzhuan.chat/api/proxy/image/6fb238cc01649cb7580fbb2dd58f3d6d.png"],
        "prompt": (
            "The camera slowly pushes in to reveal the details of the scene, while the background gradually blurs."
        ),
        "duration": 2,
        "resolution": "1080p",
        "aspect_ratio": "16:9",
        "seed": 12345,
        "movement_amplitude": "standard",
        "bgm": False,
        "audio": False,
        "off_peak": False,
        "watermark": False,
    },
    answered=words(
        "task_id type state model style prompt images duration seed aspect_ratio resolution movement_amplitude "
        "created_at credits payload cus_priority watermark is_rec wm_position wm_url meta_data client_request_id"
    ),
    response={
        "task_id": "911045603801182208",
        "type": "img2video",
        "state": "created",
        "model": "viduq1",
        "style": "general",
        "prompt": "镜头缓慢推进,展现画面中的细节,背景逐渐虚化",
        "images": ["https://storage.xuanxu.net/images/1997560136907759618/1768223244152.png"],
        "duration": 5,
        "seed": 12345,
        "aspect_ratio": "",
        "resolution": "1080p",
        "movement_amplitude": "auto",
        "created_at": "2026-01-20T04:01:53.504648743Z",
        "credits": 80,
        "payload": "custom-tracking-id-123",
        "cus_priority": 0,
        "off_peak": False,
        "watermark": False,
        "is_rec": False,
        "wm_position": "unspecified",
        "wm_url": "",
        "meta_data": "",
        "client_request_id": "",
    },
)

START_END_TO_VIDEO = SourcePage(
    endpoint="start-end2video",
    fields=words(
        "model images prompt is_rec duration seed resolution movement_amplitude bgm payload watermark wm_position "
        "wm_url meta_data callback_url"
    ),
    request={
        "task_id": "911088422699962368",
        "type": "headtailimg2video",
        "state": "created",
        "model": "viduq1",
        "style": "general",
        "prompt": (
            "A little girl picking mushrooms goes up the mountain to gather mushrooms and comes across "
            "a mushroom bigger than herself."
        ),
        "images": [
            "https://storage.xuanxu.net/images/1997560136907759618/1768223244152.png",
            "https://storage.xuanxu.net/images/1997560136907759618/1768223372503.png",
        ],
        "duration": 5,
        "seed": 722073967,
        "aspect_ratio": "",
        "resolution": "1080p",
        "movement_amplitude": "auto",
        "created_at": "2026-01-20T06:52:02.323137590Z",
        "credits": 80,
        "payload": "",
        "cus_priority": 0,
        "off_peak": False,
        "watermark": False,
        "is_rec": False,
        "wm_position": 1,
        "wm_url": "",
        "meta_data": "",
        "client_request_id": "",
    },
    answered=words(
        "task_id type state model style prompt images duration seed aspect_ratio resolution movement_amplitude "
        "created_at credits payload cus_priority off_peak watermark is_rec wm_position wm_url meta_data "
        "client_request_id"
    ),
    response={
        "task_id": "911088422699962368",
        "type": "headtailimg2video",
        "state": "created",
        "model": "viduq1",
        "style": "general",
        "prompt": (
            "A little girl picking mushrooms goes up the mountain to gather mushrooms and comes across "
            "a mushroom bigger than herself."
        ),
        "images": [
            "https://storage.xuanxu.net/images/1997560136907759618/1768223244152.png",
            "https://storage.xuanxu.net/images/1997560136907759618/1768223372503.png",
        ],
        "duration": 5,
        "seed": 722073967,
        "aspect_ratio": "",
        "resolution": "1080p",
        "movement_amplitude": "auto",
        "created_at": "2026-01-20T06:52:02.323137590Z",
        "credits": 80,
        "payload": "",
        "cus_priority": 0,
        "off_peak": False,
        "watermark": False,
        "is_rec": False,
        "wm_position": "unspecified",
        "wm_url": "",
        "meta_data": "",
        "client_request_id": "",
    },
)

REFERENCE_TO_IMAGE = SourcePage(
    endpoint="reference2image",
    fields=words("model images prompt seed aspect_ratio resolution payload callback_url"),
    request={
        "model": "viduq1",
        "prompt": (
            "A cute little cat sitting on a windowsill, with sunlight shining on its body, creating a "
            "warm and cozy scene."
        ),
    },
    answered=words(
        "task_id state model prompt images seed aspect_ratio callback_url payload cus_priority credits created_at "
        "watermark"
    ),
    response={
        "task_id": "911092490931552256",
        "state": "created",
        "model": "viduq2",
        "prompt": "一只可爱的小猫坐在窗台上,阳光洒在它的身上,温馨的画面",
        "images": [],
        "seed": 616519648,
        "aspect_ratio": "auto",
        "callback_url": "",
        "payload": "",
        "cus_priority": 0,
        "credits": 6,
        "created_at": "2026-01-20T07:08:12.262592985Z",
        "watermark": False,
    },
)

REFERENCE_TO_VIDEO = SourcePage(
    endpoint="reference2video",
    fields=words(
        "model auto_subjects subjects prompt audio duration seed aspect_ratio resolution movement_amplitude "
        "payload watermark wm_position wm_url meta_data callback_url"
    ),
    request={
        "model": "viduq2",
        "subjects": [
            {
                "id": "cat",
                "images": ["https://imageproxy.zhongzhuan.chat/api/proxy/image/5d53c7fd4263170634f67ec89db55bec.png"],
            }
        ],
        "prompt": ("A cute @cat is running on the grass under bright sunshine, creating a warm and cozy scene."),
    },
    answered=words(
        "task_id type state model style prompt images duration seed aspect_ratio resolution movement_amplitude "
        "created_at credits payload cus_priority off_peak watermark is_rec wm_position wm_url meta_data "
        "client_request_id"
    ),
    response={
        "task_id": "911084878697623552",
        "type": "character2video",
        "state": "created",
        "model": "viduq2",
        "style": "general",
        "prompt": "一只可爱的@cat在草地上奔跑,阳光明媚,画面温馨",
        "images": ["https://picx.zhimg.com/v2-4911df093b40ee5511938a1ac2a5cdc4_r.jpg"],
        "duration": 5,
        "seed": 1830691647,
        "aspect_ratio": "16:9",
        "resolution": "720p",
        "movement_amplitude": "auto",
        "created_at": "2026-01-20T06:37:57.371761937Z",
        "credits": 45,
        "payload": "",
        "cus_priority": 0,
        "off_peak": False,
        "watermark": False,
        "is_rec": False,
        "wm_position": "unspecified",
        "wm_url": "",
        "meta_data": "",
        "client_request_id": "",
    },
)

PAGES = (IMAGE_TO_VIDEO, START_END_TO_VIDEO, REFERENCE_TO_IMAGE, REFERENCE_TO_VIDEO)
