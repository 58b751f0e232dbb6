"""Runs one command and ends it with its parent.

`python -I -S guard.py SCRATCH SHM_PREFIX GRACE_S COMMAND…`.

Standard input is a pipe that the parent holds. `t` asks for a graceful end: SIGTERM, then up to
GRACE_S; `i` does so with SIGINT. `k` sends SIGKILL to the command's whole session. If the pipe is
closed, the parent has ended: as `k`, and the folder SCRATCH is removed, too. At the end the
shared memory that the command left in /dev/shm is removed. Only the owner can read what the
command creates. It imports only the standard library, so that it starts fast and no environment
can break it.
"""

import contextlib
import ctypes
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
_CHECK_INTERVAL_S = 10.0
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38
_UMASK = 0o077


class Guard:
    """One guarded command: its process group, and the shared memory seen mapped in it."""

    def __init__(self, command: list[str], scratch: str, shm_prefix: str, grace_s: float) -> None:
        self._scratch = scratch
        self._prefix = shm_prefix
        self._grace_s = grace_s
        self._mapped: set[str] = set()
        self._saved: set[str] = set()
        # a session of its own is what `k` kills: all processes of the command are in it
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=lambda: _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),  # noqa: PLW1509
        )

    def watch(self) -> int:
        """Waits for the command to end or the parent to ask for it; returns its exit code."""
        deadline, orphaned = None, False
        while self._child.poll() is None:
            self._record_mapped()
            wait_s = _CHECK_INTERVAL_S
            if deadline is not None:
                wait_s = max(0.0, min(wait_s, deadline - time.monotonic()))
            command = self._listen(wait_s)
            overdue = deadline is not None and time.monotonic() >= deadline
            if overdue or command in (b"", b"k"):
                self._kill_session()
                self._child.wait()
                orphaned = command == b""
            # a second one must not extend the time
            elif command in (b"t", b"i") and deadline is None:
                deadline = time.monotonic() + self._grace_s
                self._child.send_signal(signal.SIGTERM if command == b"t" else signal.SIGINT)
        self._sweep()
        # else the parent removes it: sockets in it may still be in use
        if orphaned and self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)
        return self._child.returncode

    def _listen(self, timeout_s: float) -> bytes | None:
        """What the parent sent: a byte, b"" if it closed the pipe, None if nothing."""
        child = os.pidfd_open(self._child.pid)
        try:
            readable, _, _ = select.select([0, child], [], [], timeout_s)
            return os.read(0, 1) if 0 in readable else None
        finally:
            os.close(child)

    def _kill_session(self) -> None:
        # names can be read only while the processes live
        self._record_mapped()
        for pid in self._members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _members(self) -> list[int]:
        """The session's processes: the command made it, and nobody else can join it."""
        pids = []
        for status in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                # after the command name in parentheses: state, ppid, pgrp, session, …
                fields = status.read_text().rpartition(")")[2].split()
                if int(fields[3]) == self._child.pid and fields[0] != "Z":
                    pids.append(int(status.parent.name))
        return pids

    def _reap_adopted(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    def _record_mapped(self) -> None:
        """Records the names of the shared memory that the session has mapped."""
        for pid in self._members():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                    path = line.partition(f"{_SHARED_MEMORY}/")[2]
                    if path and not path.endswith("(deleted)"):
                        self._mapped.add(path)
        self._save_mapped()

    def _save_mapped(self) -> None:
        """Saves the names for the next service, in case this guard is killed, too."""
        if self._scratch and self._mapped != self._saved:
            with contextlib.suppress(OSError):
                Path(self._scratch, "shared_memory").write_text("\n".join(sorted(self._mapped)))
                self._saved = set(self._mapped)

    def _sweep(self) -> None:
        deadline = time.monotonic() + 5
        while self._members() and time.monotonic() < deadline:
            self._kill_session()
            self._reap_adopted()
            time.sleep(0.02)
        self._reap_adopted()
        if self._prefix:
            self._mapped |= {path.name for path in _SHARED_MEMORY.glob(f"{self._prefix}*")}
        for name in self._mapped:
            with contextlib.suppress(OSError):
                (_SHARED_MEMORY / name).unlink()


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def keep_private() -> None:
    """From now on only the owner can read files that this process and its children create.

    Triton's shared memory ignores the umask: Boost makes it with fchmod(0644) after its creation
    (boost/interprocess/shared_memory_object.hpp). A seccomp filter lets exactly that call succeed
    without effect. Where the kernel refuses the filter, `/dev/shm` keeps Triton's own mode.
    """
    os.umask(_UMASK)
    if os.uname().machine != "x86_64":
        return
    load, equal, answer = 0x20, 0x15, 0x06  # BPF: load a word, jump if equal, return
    allow, succeed = 0x7FFF0000, 0x00050000  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO with errno 0
    code = [
        (load, 0, 0, 4),  # seccomp_data.arch
        (equal, 0, 5, 0xC000003E),  # AUDIT_ARCH_X86_64
        (load, 0, 0, 0),  # seccomp_data.nr
        (equal, 0, 3, 91),  # fchmod
        (load, 0, 0, 24),  # seccomp_data.args[1], its lower half: the mode
        (equal, 0, 1, 0o644),
        (answer, 0, 0, succeed),
        (answer, 0, 0, allow),
    ]
    program = b"".join(struct.pack("HBBI", *line) for line in code)
    kept = ctypes.create_string_buffer(program, len(program))
    filter_ = struct.pack("HxxxxxxP", len(code), ctypes.addressof(kept))
    libc = ctypes.CDLL(None)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    # seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW): no slower branches for it
    libc.syscall(317, 1, 4, ctypes.create_string_buffer(filter_, len(filter_)))


def main() -> int:
    """Runs the guarded command; the parent handles signals of the terminal."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # a handler, as the command would inherit SIG_IGN
    keep_private()
    # what a dying command orphans becomes the guard's child, in the session that it sweeps
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    scratch, shm_prefix, grace_s, *command = sys.argv[1:]
    code = Guard(command, scratch, shm_prefix, float(grace_s)).watch()
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main())
