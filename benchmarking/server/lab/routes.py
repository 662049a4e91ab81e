"""The pages of a lab: its devices, jobs and people, and what can be done from there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import Field

from benchmarking.dispatch.database import Database, LabError
from benchmarking.dispatch.ledger import LabJob, Ledger
from benchmarking.dispatch.request import LONGEST_RESERVATION_S, PROTOCOL, RESERVE, ReserveJob
from benchmarking.results.model import new_uid
from benchmarking.server.accounts import ProtectedForm, check_form, form_token
from benchmarking.server.lab.delivery import Delivery
from benchmarking.server.pages.rendering import Links, csv_answer, json_answer, links_of, page
from benchmarking.server.pages.routes import bounded, not_found
from benchmarking.server.projects import server_root

JOBS = 50
LONGEST_LOG = 200_000
"""Characters of a log that its page shows: the end."""

data = APIRouter(dependencies=[Depends(bounded)])
pages = APIRouter(dependencies=[Depends(bounded)], include_in_schema=False)


class ReservationForm(ProtectedForm):
    device: Annotated[str, Field(max_length=200)]
    hours: Annotated[float, Field(gt=0, le=LONGEST_RESERVATION_S / 3600)]


def add_lab(app: FastAPI, lab: Database) -> None:
    app.state.lab = lab
    app.state.lab_delivery = Delivery()
    app.include_router(data)
    app.include_router(pages)


@contextmanager
def opened(request: Request) -> Iterator[Ledger]:
    """
    Raises:
        HTTPException: the lab's database does not answer.
    """
    try:
        with request.app.state.lab.connected() as connection:
            yield Ledger(connection)
    except LabError as error:
        raise HTTPException(503, f"{error}; try again soon.") from error


@pages.get("/lab")
def show_lab(request: Request) -> Response:
    with opened(request) as ledger:
        devices, jobs, people = ledger.devices(), ledger.jobs(limit=JOBS), ledger.people()
    return page(
        request,
        "lab.html",
        here="lab",
        form_token=form_token(request),
        why_results_wait=request.app.state.lab_delivery.problem,
        devices=devices,
        jobs=jobs,
        people=people,
    )


@pages.get("/lab/job/{number}")
def show_job(request: Request, number: int) -> Response:
    with opened(request) as ledger:
        job = _job(ledger, number)
        log = "".join(content for _, content in ledger.log(number))
        results = [result for _, _, result in ledger.results(number, -1)]
    return page(
        request,
        "lab_job.html",
        here="lab",
        job=job,
        log=log[-LONGEST_LOG:],
        results=results[-JOBS:],
        # They are taken into the default project, whichever this page is shown in.
        runs=Links(server_root(request)),
        form_token=form_token(request),
    )


def _job(ledger: Ledger, number: int) -> LabJob:
    found = ledger.jobs(ids=[number], limit=1) if 0 < number < 2**53 else []
    if not found:
        raise not_found("job")
    return found[0]


@data.get("/lab/devices.json")
def devices_json(request: Request) -> Response:
    """The devices of the lab: state, who uses them, how many jobs wait, facts."""
    with opened(request) as ledger:
        return json_answer(ledger.devices())


@data.get("/lab/jobs.json")
def jobs_json(request: Request) -> Response:
    """The newest jobs of the lab."""
    with opened(request) as ledger:
        return json_answer(ledger.jobs(limit=JOBS))


@data.get("/lab/jobs.csv")
def jobs_csv(request: Request) -> Response:
    """The newest jobs of the lab."""
    with opened(request) as ledger:
        return csv_answer("jobs", ledger.jobs(limit=JOBS))


@pages.post("/lab/job/{number}/cancel")
def cancel(request: Request, number: int, form: Annotated[ProtectedForm, Form()]) -> Response:
    """Takes a job from the queue, or has its program ended."""
    check_form(request, form.token)
    with opened(request) as ledger:
        _job(ledger, number)
        ledger.cancel(number)
    return RedirectResponse(links_of(request).page(f"lab/job/{number}"), 303)


@pages.post("/lab/reserve")
def reserve(request: Request, form: Annotated[ReservationForm, Form()]) -> Response:
    """Keeps everybody else's jobs from a device, after those that wait already."""
    account = check_form(request, form.token)
    with opened(request) as ledger:
        chosen = next((one for one in ledger.devices() if one.key == form.device and one.measures), None)
        if chosen is None:
            raise not_found("device")
        job = ReserveJob(
            protocol=PROTOCOL, submission=new_uid(), person=account.name, duration_s=form.hours * 3600
        )
        title = f"reserved for {form.hours:g} h"
        (number,) = ledger.submit(request.app.state.lab, title, RESERVE, [(chosen, job)], 0)
    return RedirectResponse(links_of(request).page(f"lab/job/{number}"), 303)
