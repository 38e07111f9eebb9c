"""What the rows of one measurement have in common."""

from datetime import datetime

from small_vit.results.environment import describe_environment
from small_vit.results.rows import without_folders


def describe_session():
    """Return a dict of the "commit", the "command" without a machine's folders, and the "date"."""
    here = describe_environment(None, None)
    return {
        "commit": here["commit"],
        "command": without_folders(here["command"]),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
