"""The exception that a command line turns into a message and exit code 2."""

import sys
from contextlib import contextmanager


class InputError(ValueError):
    """Something the user gave is wrong. The message says what, what was received and what to do.

    Library code raises it before any training starts; `run_cifar100.py` and the other commands
    print the message without a traceback and exit with code 2.
    """


@contextmanager
def exit_on_input_error():
    """Turn an `InputError` into a message on standard error and exit code 2."""
    try:
        yield
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
