"""A table of what was tried with a client, and how it went."""

import sys
import time
import traceback

failures = 0


def row(name):
    """Prints a row for what the function does; an exception is a failure."""

    def run(function):
        global failures
        try:
            function()
            print(f"ok      {name}", flush=True)
        except Exception:  # whatever a client may raise
            failures += 1
            print(f"FAILED  {name}\n{traceback.format_exc()}", flush=True)
        return function

    return run


def until(what, holds, seconds=30):
    """Waits until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"never so: {what}")
        time.sleep(0.05)


def finish():
    """Ends the program: with 1 when a row failed."""
    sys.exit(1 if failures else 0)
