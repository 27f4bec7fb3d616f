"""`vidu-async verify-callback`: whether a callback that came in was signed with your key."""

from __future__ import annotations

import os
import sys

import click

from vidu_async.callbacks import verify_callback as verify
from vidu_async.cli.output import Results, say
from vidu_async.cli.settings import DURATION, Settings, examples, spoken
from vidu_async.protocol.errors import ConfigError


@click.command(
    epilog=examples(
        "vidu-async verify-callback --url 'https://example.com/vidu?job=7' <headers.txt",
        "vidu-async verify-callback --url /vidu --key OLD_KEY --key NEW_KEY --max-age 1d <headers.txt",
    )
)
@click.option("--url", required=True, help="The callback_url as it was registered, with its query.")
@click.option("--method", default="POST", show_default=True, help="The request's.")
@click.option(
    "--key",
    "names",
    multiple=True,
    metavar="NAME",
    help="The NAME of the environment variable with the key; repeatable.  [default: VIDU_API_KEY]",
)
@click.option("--max-age", type=DURATION, default=300.0, help="How old it may be.  [default: 5m]")
@spoken
@click.pass_obj
def verify_callback(settings: Settings, /, *, url: str, method: str, names: tuple[str, ...], max_age: float) -> int:
    """Check the signature of a callback, whose header lines are read from stdin.

    The key is that of the account that created the task; a gateway's callbacks are signed with its own, which you do
    not have. The body is not signed: look at the task. The exit status is 0 if it is signed, 1 if not.
    """
    if sys.stdin.isatty():
        say("Paste the request's header lines, then Ctrl-D.")
    keys = [_key(name) for name in names or ("VIDU_API_KEY",)]
    verify(method=method, url=url, headers=_headers(sys.stdin.read()), keys=keys, max_age=max_age)
    Results(settings.json).tell({"type": "callback", "signed": True}, "signed")
    return 0


def _key(name: str) -> str:
    """Return the key in a variable. What is none may be a key itself, and is not repeated."""
    key = os.environ.get(name, "")
    if not key:
        which = name if name == "VIDU_API_KEY" else "given with --key"
        raise ConfigError(f"the environment variable {which} is not set; --key takes its name, never the key itself")
    return key


def _headers(text: str) -> list[tuple[str, str]]:
    """Read header lines up to an empty one, perhaps after a request line."""
    lines = text.replace("\r\n", "\n").strip("\n").split("\n\n")[0].split("\n")
    if lines and lines[0].rstrip().endswith(("HTTP/1.0", "HTTP/1.1", "HTTP/2")):
        lines = lines[1:]
    pairs = [line.partition(":") for line in lines if line.strip()]
    if not pairs or not all(colon for _, colon, _ in pairs):
        raise click.UsageError("stdin must hold the request's header lines, such as 'Date: Tue, 06 May 2025 ...'.")
    return [(name.strip(), value.strip()) for name, _, value in pairs]
