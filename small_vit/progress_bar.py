"""A progress bar over files."""


def image_bar(hidden=False):
    """Return a `rich.progress.Progress` on standard error that counts images, with the time left.

    Args:
        hidden: Whether to show nothing; nothing is shown either where that is no terminal.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True, soft_wrap=True)
    return Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images, left"),
        TimeRemainingColumn(),
        console=console,
        disable=hidden or not console.is_terminal,
        transient=True,
        redirect_stdout=False,  # results go where the shell sends them
    )
