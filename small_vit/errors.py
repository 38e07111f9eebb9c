"""The one exception a command line turns into a message and exit code 2."""


class InputError(ValueError):
    """Something the user gave is wrong: the message names it, what was received, and what to do.

    Library code raises it before any training starts; `run_cifar100.py` and the other commands
    print the message without a traceback and exit with code 2.
    """
