"""Runs the user's own command when something happens."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarking.errors import BenchmarkError, RunCancelledError
from benchmarking.programs import process
from benchmarking.programs.command import Command
from benchmarking.programs.process import Cancellation, Streams

logger = logging.getLogger(__name__)

LIMIT_S = 60.0


@dataclass(frozen=True)
class Notifier:
    argv: tuple[str, ...]
    """The command that receives each event as JSON on its standard input; empty: no command."""
    cancellation: Cancellation

    def notify(self, event: Mapping[str, Any]) -> None:
        """Runs the command. If it fails, this is logged and has no other effect.

        Raises:
            RunCancelledError: the command did not end: the loop reports the event again.
        """
        if not self.argv:
            return
        try:
            with tempfile.TemporaryFile() as stream:
                stream.write(json.dumps(event).encode() + b"\n")
                stream.seek(0)
                outcome = process.run(
                    Command(self.argv, timeout_s=LIMIT_S),
                    self.cancellation,
                    streams=Streams(stdin=stream),
                )
        except RunCancelledError:
            raise
        except (BenchmarkError, OSError) as error:
            logger.error("--notify: %s could not be run: %s", self.argv[0], error)
            return
        if outcome.exit_code != 0:
            how = "was killed" if outcome.timed_out else f"ended with exit status {outcome.exit_code}"
            logger.error("--notify: %s %s\n%s", self.argv[0], how, outcome.tail())
