"""Becomes a child program that is sent a signal when its parent dies: python launch.py PARENT SIGNAL USER|- PROGRAM …

A program of its own, for what has to happen between fork and exec cannot be done safely in a parent with threads.
It is run without site packages, and imports little: it costs some 15 ms.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, number, user, *command = sys.argv[1:]
    if user != "-":
        import pwd

        entry = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)  # before the prctl, which a change of user undoes
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != int(parent):  # it died before we asked
        sys.exit(1)
    try:
        os.execvp(command[0], command)  # noqa: S606 - that is what it is for
    except OSError as error:
        sys.exit(f"{command[0]} cannot be started: {error.strerror}")


if __name__ == "__main__":
    main()
