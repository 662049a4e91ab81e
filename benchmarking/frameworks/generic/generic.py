"""Any program that prints how long it took: the specification describes its command line and its output."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchmarking.errors import Fault, ProgramOutputError, ProgramStartError, UsageError
from benchmarking.frameworks import program_output, tensor_file
from benchmarking.frameworks.framework_base import FrameworkBase, Invocation, ProgramReport
from benchmarking.frameworks.generic import json_path
from benchmarking.frameworks.generic.readings import FORMS, Form, JsonForm, PatternForm, Readings
from benchmarking.frameworks.own_program import option_text
from benchmarking.frameworks.program_end import require_success
from benchmarking.programs.command import Command, Outcome, Program
from benchmarking.programs.command_template import PROGRAM, CommandTemplate
from benchmarking.results.model import NET_DELAY, Measurement
from benchmarking.results.plain_text import plain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from benchmarking.specs.expand import TestCase
    from benchmarking.specs.later_form import TemplateRun
    from benchmarking.specs.model import OptionValue

OPTIONS = ("command", "format", "pattern", "json_path", "unit", "net", "threads", "backend")
"""Below ``commands.generic`` in a specification."""
OBSERVER = "observer"
PROCESS = "process"
"""The form of programs that print no times: a process is an iteration, and its own time is taken."""
KNOWN_FORMS = (PROCESS, OBSERVER, *FORMS)
UNITS = ("ns", "us", "ms", "s")
_DESCRIBED = ("pattern", "json_path")
"""Options that describe the output, instead of the name of a form."""
_NOWHERE = "/dev/null"
"""The value of ``{output_files.NAME}`` if no outputs are compared."""


class Generic(FrameworkBase):
    name: ClassVar[str] = "generic"

    # --- checks ---------------------------------------------------------------------------------------------

    def check(self, case: TestCase) -> Sequence[Fault]:
        where = f"{case.json_path}.commands.{self.name}"
        return [
            Fault(str(case.specification), f"{where}.{option}" if option else where, message)
            for option, message in self._problems(case)
        ]

    def _problems(self, case: TestCase) -> Iterator[tuple[str, str]]:
        """Maps the option to its problem."""
        options = self._options(case)
        for option in options:
            if option not in OPTIONS:
                close = difflib.get_close_matches(option, OPTIONS, n=1)
                advice = f"did you mean {close[0]}?" if close else f"there are {', '.join(OPTIONS)}"
                yield option, f"the framework {self.name} has no such option; {advice}"
        if case.template is not None:
            yield from form_problems(options)
            return
        try:
            yield from _command_problems(case, CommandTemplate.parse(_text(options, "command")))
        except KeyError:
            yield "command", "missing: how the program is called, as in {program} --model={files.model}"
        except ValueError as error:
            yield "command", str(error)
        yield from form_problems(options)
        if options.get("format") == PROCESS and case.iterations != 1:
            yield "format", f"a whole process is one iteration; the test has {case.iterations}"

    def _options(self, case: TestCase) -> Mapping[str, OptionValue]:
        return case.commands.get(self.name, {})

    def backend(self, case: TestCase, override: str | None) -> str | None:
        chosen = override if override is not None else self._options(case).get("backend")
        return None if chosen is None else str(chosen)

    def outputs(self, case: TestCase, model_files: Mapping[str, Path]) -> tuple[str, ...]:
        """The outputs for which the command has a file."""
        if case.template is not None:
            return ()
        placeholders = self._template(case).placeholders
        return tuple(name for name in case.model.outputs or () if f"output_files.{name}" in placeholders)

    # --- the program ----------------------------------------------------------------------------------------

    def default_program(self) -> Program:
        raise UsageError("the framework generic runs your own program: name it with --program")

    def compose(self, invocation: Invocation) -> Command:
        if invocation.case.template is not None:
            return self._compose_whole(invocation, invocation.case.template)
        template = self._template(invocation.case)
        backend = self.backend(invocation.case, invocation.backend)
        if backend is not None and "backend" not in template.placeholders:
            raise ProgramStartError(f"the command has no {{backend}} for the backend {plain(backend)}")
        values = {**self._values(invocation), "backend": backend or ""}
        for name in template.placeholders:
            if name.startswith("output_files."):
                values.setdefault(name, _NOWHERE)
        return Command(template.fill(invocation.launcher, values), {}, invocation.timeout_s)

    def _compose_whole(self, invocation: Invocation, run: TemplateRun) -> Command:
        """The command line of a specification of the later form."""
        if invocation.backend is not None:
            raise ProgramStartError(
                f"the specification's command line has no place for the backend {plain(invocation.backend)}"
            )
        return Command(invocation.fill(run), {}, invocation.timeout_s)

    def _template(self, case: TestCase) -> CommandTemplate:
        return CommandTemplate.parse(_text(self._options(case), "command"))

    def _values(self, invocation: Invocation) -> dict[str, str]:
        case = invocation.case
        directory = invocation.output_directory
        return {
            "iter": str(case.iterations),
            "warmup": str(case.warmup),
            "threads": option_text(self._options(case).get("threads", 1)),
            **{f"files.{key}": path for key, path in invocation.model_files.items()},
            **{f"input_files.{name}": path for name, path in invocation.input_files.items()},
            **{
                f"output_files.{name}": f"{directory}/{self.output_file(name)}"
                for name in (invocation.outputs or case.golden_files if directory is not None else ())
            },
        }

    # --- the program's output -------------------------------------------------------------------------------

    def parse(self, outcome: Outcome, case: TestCase) -> ProgramReport:
        require_success(outcome)
        if _text(self._options(case), "format", "") == PROCESS:
            cpu_us = (outcome.cpu.total_s * 1e6,) if outcome.cpu else ()
            process = Measurement(NET_DELAY, "us", (outcome.duration_s * 1e6,), cpu_values=cpu_us)
            return ProgramReport((process,), cpu=outcome.cpu)
        streams = (outcome.stdout, outcome.stderr, outcome.device_log)
        form = self._form(case)
        try:
            if form is None:
                log = program_output.richest(streams)
                report = ProgramReport(log.measurements(), log.facts, log.warnings(), log.costs, log.kernels)
                _require_count(len(log.net_us), case, exact=True)
                return report
            readings = max((form.read(text) for text in streams), key=lambda one: one.count)
            return _report(readings, form, case, _text(self._options(case), "net", ""))
        except ProgramOutputError as error:
            raise ProgramOutputError(str(error), outcome.tail()) from error

    def _form(self, case: TestCase) -> Form | None:
        """The later form does not describe the output; TFLite models are run by ``benchmark_model``."""
        options = self._options(case)
        if (
            case.template is not None
            and case.model.format == "tflite"
            and not {"format", *_DESCRIBED} & {*options}
        ):
            return FORMS["benchmark_model"]
        return _form(options)

    def output_file(self, blob: str) -> str:
        return tensor_file.file_name(blob)

    def read_tensor(self, path: Path, name: str = "") -> NDArray[np.float64]:
        return tensor_file.read(path, name)


def _text(options: Mapping[str, OptionValue], name: str, *default: str) -> str:
    """
    Raises:
        KeyError: it is missing, and there is no default.
    """
    return option_text(options[name]) if name in options or not default else default[0]


def _command_problems(case: TestCase, template: CommandTemplate) -> Iterator[tuple[str, str]]:
    if template.words[0] != f"{{{PROGRAM}}}":
        yield "command", f"its first word has to be {{{PROGRAM}}}, the program that the user names"
    fed = {f"input_files.{blob.name}" for blob in case.inputs if blob.is_given}
    known = {
        PROGRAM,
        "iter",
        "warmup",
        "threads",
        "backend",
        *fed,
        *(f"files.{key}" for key in case.model_files),
    }
    golden = {f"output_files.{name}" for name in case.golden_files}
    for name in template.placeholders:
        # The outputs are unknown in a test of delays; its command may be that of all tests of the model.
        is_output = name in golden or (not golden and name.startswith("output_files."))
        if name not in known and not is_output:
            there = ", ".join(f"{{{one}}}" for one in sorted(known | golden))
            yield "command", f"{{{name}}} has no value; known are {there}"
    for name in sorted(golden - set(template.placeholders)):
        yield "command", f"it has no {{{name}}}: the program needs to know where to write this output"


def form_problems(options: Mapping[str, OptionValue]) -> Iterator[tuple[str, str]]:
    """By option, what is wrong with the description of the output."""
    given = [option for option in ("format", *_DESCRIBED) if option in options]
    if len(given) > 1:
        yield given[1], f"{' and '.join(given)} exclude each other"
        return
    if "unit" in options and _text(options, "unit") not in UNITS:
        yield "unit", f"{_text(options, 'unit')!r} is not one of {', '.join(UNITS)}"
    if "format" in options and _text(options, "format") not in KNOWN_FORMS:
        yield "format", f"{_text(options, 'format')!r} is not one of {', '.join(KNOWN_FORMS)}"
        return
    if "unit" in options and given in ([], ["format"]):
        yield "unit", "only pattern and json_path use it; remove it"
    for option in given:
        try:
            form = _form(options)
        except ValueError as error:
            yield option, str(error)
            return
        tells_unit = isinstance(form, PatternForm) and "unit" in form.pattern.groupindex
        if option in _DESCRIBED and "unit" not in options and not tells_unit:
            yield "unit", f"missing: the unit of the times, one of {', '.join(UNITS)}"


def _form(options: Mapping[str, OptionValue]) -> Form | None:
    """None: observer lines, or no lines at all.

    Raises:
        ValueError: a pattern or a path cannot be used.
    """
    unit = _text(options, "unit", "")
    if "pattern" in options:
        return PatternForm.of(_text(options, "pattern"), unit)
    if "json_path" in options:
        path = _text(options, "json_path")
        json_path.parse(path)
        return JsonForm(times=path, unit=unit)
    name = _text(options, "format", OBSERVER)
    return FORMS.get(name)


def printed_times(outcome: Outcome, options: Mapping[str, OptionValue]) -> int:
    """The number of times of the net that a program printed; 0: none in the form that the options describe.

    Raises:
        ProgramOutputError: what it printed in that form are not times.
    """
    if options.get("format") == PROCESS:
        return 1
    streams = (outcome.stdout, outcome.stderr)
    form = _form(options)
    if form is None:
        return len(program_output.richest(streams).net_us)
    readings = max((form.read(text) for text in streams), key=lambda one: one.count)
    samples = readings.samples_us
    return len(samples.get(_text(options, "net", ""), ())) or max(map(len, samples.values()), default=0)


def common_form(outcomes: Sequence[Outcome]) -> str:
    """The form in which all of these programs printed times; ``PROCESS`` if there is none."""
    for name in (*FORMS, OBSERVER):
        try:
            if all(printed_times(one, {"format": name}) for one in outcomes):
                return name
        except ProgramOutputError:
            continue
    return PROCESS


def _report(readings: Readings, form: Form, case: TestCase, net: str) -> ProgramReport:
    names = list(readings.samples_us)
    if net in names:
        chosen = net
    elif net or len(names) > 1:
        shown = ", ".join(plain(name[:100]) for name in names[:10]) or "none"
        wanted = (
            f"none of them is {plain(net)!r}" if net else "give the name of the whole net in the option net"
        )
        raise ProgramOutputError(f"the program printed the benchmarks {shown}: {wanted}")
    else:
        chosen = names[0] if names else ""
    values = readings.samples_us.get(chosen, ())
    if not (readings.is_mean and values):
        _require_count(len(values), case, exact=form.exact)
    measurements = [Measurement(NET_DELAY, "us", values)]
    measurements += [
        Measurement(name[: program_output.LONGEST_NAME], "us", times)
        for name, times in readings.samples_us.items()
        if name not in (chosen, "", NET_DELAY)
    ]
    warning = "the program prints only the mean of its iterations: their distribution is unknown"
    return ProgramReport(tuple(measurements), warnings=(warning,) if readings.is_mean else ())


def _require_count(found: int, case: TestCase, *, exact: bool) -> None:
    if found != case.iterations if exact else found < case.iterations:
        raise ProgramOutputError(f"the program printed {found} of {case.iterations} samples of the net")
