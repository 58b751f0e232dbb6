"""A sink on the network: lines go to disk first, and from there to the sink in batches.

So a sink that is slow, stalls or is away costs disk and no memory, and what a process leaves behind
is sent by the next one. A batch may arrive twice where its answer was lost.
"""

import logging
import threading
import time

from frontend.telemetry.logs.lines import Line
from frontend.telemetry.logs.post import Away
from frontend.telemetry.logs.sink import Losses, Waiting
from frontend.telemetry.logs.spool import Spool
from frontend.telemetry.logs.targets import Refused, Target, Verdict

_GATHER_S = 0.2
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_log = logging.getLogger(__name__)


class ShippingSink:
    """Two threads: one writes lines to the spool, the other sends what is there."""

    is_text = False

    def __init__(self, name: str, target: Target, spool: Spool, max_lines: int) -> None:
        self.name, self.losses = name, Losses()
        self._target, self._spool = target, spool
        self._waiting = Waiting(max_lines, self.losses)
        self._wake, self._ends = threading.Event(), threading.Event()
        self._keeper = threading.Thread(target=self._keep, name=f"log-{name}", daemon=True)
        self._sender = threading.Thread(target=self._send, name=f"log-{name}-send", daemon=True)
        self._is_away = self._has_refused = False

    @property
    def waiting_bytes(self) -> int:
        """The size of the lines that wait on disk."""
        return self._spool.size_bytes

    def put(self, line: Line) -> None:
        """Takes a line."""
        self._waiting.put(line.json)

    def start(self) -> None:
        """Takes over what waits, and starts the threads. Raises OSError if the folder cannot be
        used."""
        self._spool.open()
        self._keeper.start()
        self._sender.start()

    def close(self, timeout_s: float) -> None:
        """Keeps what was logged, and sends it if that takes no longer."""
        ends_s = time.monotonic() + timeout_s
        self._waiting.close()
        self._keeper.join(timeout_s)
        self._ends.set()
        self._wake.set()
        self._sender.join(max(0.0, ends_s - time.monotonic()))
        # a batch that is being sent stays on disk, so the next process sends it again
        self._spool.close()

    def _keep(self) -> None:
        while not (self._waiting.is_closed and not len(self._waiting)):
            if lines := self._waiting.take(None):
                self.losses.add(self._spool.append(lines))
                self._wake.set()

    def _send(self) -> None:
        pause_s = 0.0
        while True:
            try:
                if not self._send_one():
                    return
                pause_s = 0.0
            except (Away, OSError) as error:
                self._note(error if isinstance(error, Away) else Away(error.strerror or "an error"))
                if self._ends.is_set():
                    return
                pause_s = min(max(_FIRST_PAUSE_S, 2 * pause_s), _LONGEST_PAUSE_S)
                self._ends.wait(pause_s)

    def _send_one(self) -> bool:
        """Sends the oldest batch, or waits for one; False at the end. Raises Away if lines were not
        accepted, and OSError if the folder cannot be used."""
        if (batch := self._spool.take()) is None:
            if self._ends.is_set():
                return False
            self._wake.wait()
            self._wake.clear()
            self._ends.wait(_GATHER_S)  # together with what arrives until then
            return True
        path, lines = batch
        verdict = self._split(lines)
        self._spool.replace(path, verdict.again)
        self.losses.add(verdict.refused)
        if verdict.refused and not self._has_refused:
            # once: the sink could refuse this line as well
            self._has_refused = True
            _log.warning("%s refused %d log lines", self.name, verdict.refused)
        if verdict.again:
            raise Away(f"{len(verdict.again)} lines were not accepted yet")
        if self._is_away:
            self._is_away = False
            _log.info("%s accepts log lines again", self.name)
        return True

    def _split(self, lines: list[bytes]) -> Verdict:
        """Sends a batch; halves of it where the sink refuses it, down to the line at fault."""
        if not lines:
            return Verdict()
        try:
            return self._target.send(lines)
        except Refused:
            if len(lines) == 1:
                return Verdict(refused=1)
        middle = len(lines) // 2
        first = self._split(lines[:middle])
        try:
            second = self._split(lines[middle:])
        except Away:
            second = Verdict(again=lines[middle:])
        return Verdict(first.again + second.again, first.refused + second.refused)

    def _note(self, why: Away) -> None:
        if not self._is_away:
            self._is_away = True
            _log.warning("log lines for %s wait on disk: %s", self.name, why)
