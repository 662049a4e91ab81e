"""Takes the results of a lab's finished jobs into the store, each once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event

from sqlalchemy.exc import DBAPIError

from benchmarking.dispatch.database import Database, LabError
from benchmarking.dispatch.ledger import Ledger
from benchmarking.results.model import Result
from benchmarking.server.admission import RefusedError
from benchmarking.server.ingest import ingest
from benchmarking.server.store import Store, reason

LOOK_AGAIN_S = 1.0
RETRY_S = 10.0

logger = logging.getLogger(__name__)


class Delivery:
    """What its pages say of it."""

    def __init__(self) -> None:
        self.problem = ""
        """Why results wait."""


def keep_delivering(
    store: Store, lab: Database, announce: Callable[[], None], delivery: Delivery, ending: Event
) -> None:
    """Looks for finished jobs until ``ending`` is set.

    Args:
        announce: called when there are new results.
        delivery: says from then on why results wait.
    """
    pause_s = 0.0
    while not ending.wait(pause_s):
        try:
            if deliver(store, lab):
                announce()
            pause_s, delivery.problem = LOOK_AGAIN_S, ""
        except (LabError, DBAPIError) as error:
            problem = reason(error) if isinstance(error, DBAPIError) else str(error)
            if problem != delivery.problem:
                logger.warning("results of the lab wait: %s", problem)
            pause_s, delivery.problem = RETRY_S, problem
        except Exception:
            logger.exception("a bug while the results of the lab were taken")
            pause_s = RETRY_S


def deliver(store: Store, lab: Database) -> int:
    """Returns the number of new results. A run that cannot be stored is named in the log, and costs itself.

    Raises:
        LabError, sqlalchemy.exc.DBAPIError: a database failed; what was not delivered is delivered later.
    """
    accepted = 0
    with lab.connected() as connection:
        ledger = Ledger(connection)
        for job, attempt, person in ledger.undelivered():
            try:
                accepted += ingest(store, _results(ledger, job), source=person).accepted
            except (LabError, RefusedError) as error:
                logger.error("job %d of the lab: %s", job, error)
            # What is known already is not added again: the order of these two loses nothing.
            ledger.mark_delivered(job, attempt)
    return accepted


def _results(ledger: Ledger, job: int) -> list[Result]:
    return [result for _, _, result in ledger.results(job, -1)]
