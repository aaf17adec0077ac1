"""Execute another program, whose process ends with the one that started it.

Run as a script by :mod:`parley_cli.embedded.guard`, in an interpreter without site packages, so it costs some ten
milliseconds: ``child.py PARENT SIGNAL UID:GID REACH COMMAND…``. It exists because the work has to be done between fork
and exec, where a process with threads must not run Python code (``preexec_fn``).
"""

import ctypes
import os
import pwd
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
PR_GET_SECUREBITS = 27
PR_SET_SECUREBITS = 28
SECBIT_NO_SETUID_FIXUP = 4
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522


def become(uid: int, gid: int, *, keep_reach: bool) -> None:
    """Change from root to ``uid``; with ``keep_reach`` keep the capability to pass folders that are closed to it.

    Raises:
        OSError: The system does not let root keep it (for example a container without CAP_SETPCAP).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if keep_reach:
        # Without it the right survives a change of user only for what opens a file: `access`, which PostgreSQL's
        # programs find each other with, answers an account other than root as if that account had no rights at all.
        _checked(libc.prctl(PR_SET_SECUREBITS, libc.prctl(PR_GET_SECUREBITS) | SECBIT_NO_SETUID_FIXUP, 0, 0, 0))
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    os.environ["HOME"] = _home_of(uid)
    if keep_reach:
        header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
        bit = 1 << CAP_DAC_OVERRIDE
        # effective, permitted, inheritable; then the same three for capabilities above 31
        data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
        _checked(libc.capset(header, data))
        _checked(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0))


def _checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _home_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        return "/"  # an account without an entry, as containers have them


def die_with(parent: int, number: int) -> None:
    """Have this process sent signal ``number`` when ``parent`` ends."""
    if sys.platform == "linux":
        # Cleared by a change of user, so this comes after it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    else:
        child = os.getpid()
        if os.fork() == 0:
            # Without such a call: a separate process watches both.
            while os.getppid() == child:
                try:
                    os.kill(parent, 0)
                except ProcessLookupError:
                    os.kill(child, number)
                    break
                except PermissionError:
                    pass
                time.sleep(0.5)
            os._exit(0)
    if os.getppid() != parent:
        # It ended before the call above.
        sys.exit(1)


def main() -> None:
    parent, number, account, reach, *command = sys.argv[1:]
    if account:
        uid, gid = map(int, account.split(":"))
        try:
            become(uid, gid, keep_reach=reach == "reach")
        except OSError as error:
            sys.exit(
                f"root cannot give account {uid} access to closed folders here ({error.strerror}). Use folders that "
                f"every account may pass, or run this as an ordinary user."
            )
    die_with(int(parent), int(number))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        os.execv(command[0], command)
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
