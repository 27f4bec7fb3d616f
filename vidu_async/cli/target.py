"""Where results are to go: whether they can be written there is found out before anything is paid."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pathlib import Path


def check_folder(folder: Path) -> None:
    """Refuse a folder that can be neither written to nor made. Nothing is left there.

    Raises:
        click.UsageError: the system will not have it.

    """
    whole = folder.absolute()
    there = next(path for path in (whole, *whole.parents) if os.path.lexists(path))
    try:
        with tempfile.TemporaryFile(dir=there):  # permissions alone tell little: root has them all
            pass
    except OSError as error:
        said = f"nothing can be written to {folder}: {there}: {error.strerror}; nothing was sent."
        raise click.UsageError(said) from None
