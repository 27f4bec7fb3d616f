"""The words of all dialects: tables, and nothing that reads with them (`dialects.py` does).

A gateway that calls something otherwise is read by adding its word here.
"""

from __future__ import annotations

import re

from vidu_async.protocol.models import TaskState

# Names are compared without case and underscores: `TaskId`, `taskId` and `task_id` are one.
ENVELOPES = (
    *("response", "data", "result", "output", "task", "aigcvideotask", "aigcimagetask", "taskresult", "content"),
)
LISTED = ("data", "response", "result", "items", "list", "records")
"""Where others have what Vidu calls `tasks` or `subjects`."""
DEPTH = 6
"""Envelopes in envelopes that are opened."""

_ENDS_WELL = ("success", "succeed", "succeeded", "successed", "successful", "completed", "complete")
_ENDS_BADLY = (
    *("failed", "failure", "fail", "error", "aborted", "expired", "rejected", "timeout", "timedout", "terminated"),
    *("stopped", "blocked", "deleted"),
)
STATES = {
    **dict.fromkeys(("created", "submitted", "notstart"), TaskState.CREATED),
    **dict.fromkeys(("queueing", "queued", "queuing", "inqueue", "waiting", "wait", "pending"), TaskState.QUEUEING),
    **dict.fromkeys(("processing", "running", "run", "inprogress", "generating"), TaskState.PROCESSING),
    **dict.fromkeys(_ENDS_WELL, TaskState.SUCCESS),
    **dict.fromkeys(_ENDS_BADLY, TaskState.FAILED),
}
"""Words for a state, without case, underscores and hyphens. Any other is `TaskState.UNKNOWN`."""
ENDED = frozenset({"finish", "finished", "done"})
"""Words for an end, good or bad: the code beside them tells which."""
CANCELLED = frozenset({"cancelled", "canceled", "cancel", "usercancelled", "usercanceled"})
SEPARATORS = re.compile(r"[\s_-]")

NAMES: dict[str, tuple[str, ...]] = {
    "type": ("type",),
    "model": ("model", "modelname"),
    "prompt": ("prompt",),
    "credits": ("credits",),
    "payload": ("payload",),
    "err_code": ("errcodeext", "errcode", "errorcode", "failcode"),
    "err_msg": ("errmsg", "errormsg", "errormessage", "failreason", "failedreason", "taskstatusmsg"),
    "created_at": ("createdat", "createtime", "submittime", "created"),
    "progress": ("progress",),
    "duration": ("duration", "seconds"),
    "resolution": ("resolution",),
    "seed": ("seed",),
    "off_peak": ("offpeak",),
}
"""Vidu's names and what others call the same, the likeliest first."""
WORDS = [(other, name) for name, others in NAMES.items() for other in reversed(others)]
TASK_IDS = ("taskid", "taskno", "asyncid")
"""Names of ids that only tasks have; an `id` may be that of the request, or a row's in somebody's database."""
STATE_NAMES = ("state", "taskstatus", "status")
RESULTS = ("resulturl", "outputurl", "signedurl", "fileurl", "demoaudio")
"""Names of links that only results have; the others may be what the task was given."""
LINKS = {
    "url": ("url", "nomarkuri", "uri", *RESULTS, "videourl", "imageurl"),
    "cover_url": ("coverurl", "coveruri", "coverimageurl", "thumbnailurl"),
    "watermarked_url": ("watermarkedurl",),
}
"""The links of one result, by Vidu's names."""
ALONE = (*RESULTS, "videourl", "url", "imageurl", "uri")
"""The same where they stand in the task itself."""
LINK_LISTS = ("result", "output", "outputs", "results", "urls", "videourls", "imageurls", "video")
"""Bare links, or lists of them. `images` and `videos` that hold such are what the task was given."""
LISTS = (
    "fileinfos",
    "videoresult",
    "imageresult",
    "results",
    "outputs",
    "result",
    "output",
    "data",
    "videos",
    "images",
)
"""Lists of results besides `creations`, the ones a task may also be given last."""
MARKS = frozenset(
    {"state", "creations", "errcode", "failreason", "progress", "credits", "createdat", "taskstatus", "object"}
)
"""Names that only tasks have: by them an answer is one even if it does not repeat the id it was asked about."""
ENDS = MARKS - {"errcode", "taskstatus"}
"""Those by which a failure is the task's, whatever its code; that of a question may have a code, too."""
OF_TASKS = MARKS | {*TASK_IDS, *ALONE, *(name for name in LISTS + LINK_LISTS if name not in ENVELOPES)}
"""Names by which an object around another speaks of the task, too; the `status` of a mere envelope is its own."""
NOTHING = frozenset({"", "0", "none", "null", "ok", "success", "succeed", "succeeded", "请求成功", "成功"})
"""Codes and messages that are no error's."""
FINE = NOTHING | {"200", "201", "202", "204"}
"""Codes of envelopes that are none, either."""
STATUSES = range(400, 600)
BAD_STATUSES = frozenset({"error", "fail", "failed", "failure"})
NO_IDS = frozenset({"0", "null", "none", "undefined"})
BARE_ID = re.compile(r"(?=.*\d)[\w.:^-]{6,128}")
"""An id that is all an envelope holds."""
