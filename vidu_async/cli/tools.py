"""`vidu-async simulate` and `vidu-async completion`: what needs neither a client nor a key."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from vidu_async.cli.settings import COMPLETE, PROGRAM, examples


@click.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True},
    epilog=examples(
        "vidu-async simulate --port 8989 --time-scale 600",
        "vidu-async simulate --help",
    ),
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def simulate(arguments: tuple[str, ...]) -> int:
    """Serve the simulator until Ctrl-C, as `python -m vidu_async.testing` does: its options are these."""
    from vidu_async.testing.__main__ import main  # noqa: PLC0415 - on first use

    return main(arguments, program="vidu-async simulate")


@click.command(
    epilog=examples(
        "vidu-async completion bash >>~/.bashrc",
        "vidu-async completion zsh >>~/.zshrc",
        "vidu-async completion fish >~/.config/fish/completions/vidu-async.fish",
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what a shell needs to complete commands and options; have it read that when it starts."""
    kind = get_completion_class(shell)
    root = ctx.find_root()
    if kind is not None:
        click.echo(kind(root.command, {}, PROGRAM, COMPLETE).source())
