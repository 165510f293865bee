"""Runs programs: their output, their errors in one line, and nothing left behind."""

import ctypes
import os
import signal
import subprocess

_C = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
MEASUREMENT_SECONDS = 1800  # no measurement takes so long; what does, hangs


class Failed(Exception):
    """Something could not be had or run; the message is one line."""


def run(command, *, env=None, cwd=None, log=None, timeout=None):
    """Standard output of a command; it gets no standard input. With `log`, both outputs go to that file instead."""
    command = [str(part) for part in command]
    output = log.open("w") if log else subprocess.PIPE
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output,
                                 stderr=subprocess.STDOUT if log else subprocess.PIPE, env=env, cwd=cwd, text=True,
                                 errors="replace", start_new_session=True, preexec_fn=die_with_parent)
    except OSError as error:
        raise Failed(f"{command[0]}: {error.strerror}") from None
    finally:
        if log:
            output.close()
    try:
        out, err = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise Failed(f"{command[0]}: no end after {timeout} s") from None
    finally:
        end(child)
    if child.returncode != 0:
        said = f"{last_line(log.read_text(errors='replace'))} ({log})" if log else last_line(err)
        raise Failed(f"{command[0]} {ending(child.returncode)}: {said}")
    return out


def die_with_parent():
    """For a child, before its program starts: it is killed when the harness is, even while it is stopped."""
    _C.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def ending(returncode):
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    return f"was ended by {signal.Signals(-returncode).name}"


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


def end(child):
    """Ends a child that was started in a session of its own, with all that it started, and closes its pipes."""
    if child.poll() is None:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # between the two lines it ended by itself
        child.wait()
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe:
            pipe.close()
