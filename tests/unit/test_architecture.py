"""The rules of the house that no linter knows: who may import what, and how data is declared.

docs/limits.md is made from the code; ``UPDATE_GOLDEN=1`` writes it.
"""

import ast
import functools
import graphlib
import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import golden

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "benchmarking"
FRAMEWORKS = PACKAGE / "frameworks"
STANDALONE = sorted([*(FRAMEWORKS / "kit").rglob("*.py"), *FRAMEWORKS.glob("*/program/**/*.py")])
"""Programs that run on devices: the rules of the house are not for them."""
FILES = sorted({*PACKAGE.rglob("*.py")} - {*STANDALONE})

LEVELS = (
    {"cli", "devices", "history", "__main__"},
    {"driver", "continuous", "dispatch", "server"},
    {"frameworks", "platforms", "reporters", "regression_detectors", "repos"},
    {"records"},
    {"programs", "files", "specs", "statistics"},
    {"results", "terminal", "bounds", "errors", "packages", "registry", "start"},
)
"""A module imports from its own level and from those below."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def level(module: str) -> int | None:
    """None of other packages, and of the package itself, which holds nothing but its version."""
    parts = module.split(".")
    if parts[0] != "benchmarking" or not {path.stem for path in PACKAGE.iterdir()} & set(parts[1:2]):
        return None
    found = [number for number, names in enumerate(LEVELS) if parts[1] in names]
    assert len(found) == 1, f"benchmarking.{parts[1]} is on the levels {found}, and belongs to exactly one"
    return found[0]


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_go_one_way(path):
    own_level = level(module_name(path))
    for imported in imported_modules(path):
        other_level = level(imported)
        if own_level is not None and other_level is not None:
            assert other_level >= own_level, f"{module_name(path)} imports {imported}"


@pytest.mark.parametrize("package", ["frameworks", "platforms"])
def test_frameworks_and_platforms_do_not_know_each_other(package):
    other = {"frameworks": "platforms", "platforms": "frameworks"}[package]
    for path in (PACKAGE / package).rglob("*.py"):
        if path in FILES:
            assert not any(name.startswith(f"benchmarking.{other}") for name in imported_modules(path)), path


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_argparse_subprocess_and_argv_have_one_place(path):
    imported = imported_modules(path)
    if PACKAGE / "cli" not in path.parents:
        assert "argparse" not in imported
        assert "sys.argv" not in path.read_text(encoding="utf-8")
    if path != PACKAGE / "programs" / "process.py":
        assert "subprocess" not in imported


def called(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


ENTRANCES = [PACKAGE / "start.py", *(PACKAGE / "terminal").glob("*.py")]


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_all_that_is_printed_or_logged_goes_through_one_place(path):
    """Else what others chose would drive a terminal."""
    if path not in ENTRANCES:
        raw = {
            "print",
            "Console",
            "sys.stdout.write",
            "sys.stderr.write",
            "logging.basicConfig",
            "logging.Formatter",
        }
        assert called(path).isdisjoint(raw)


@pytest.mark.parametrize("path", STANDALONE, ids=module_name)
def test_programs_import_only_the_kit_of_this_project(path):
    own = ("benchmarking.frameworks.kit", ".".join(module_name(path).split(".")[:4]))
    for imported in imported_modules(path):
        assert not imported.startswith("benchmarking") or imported.startswith(own)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_nothing_but_the_programs_needs_torch(path):
    assert not any(name.split(".")[0] in ("torch", "caffe2") for name in imported_modules(path))


def imported_first(path: Path) -> set[str]:
    """The modules of the package that are imported before the module itself is complete."""
    later = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    nodes: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    modules = set()
    for node in nodes:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            nodes += node.orelse
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif not isinstance(node, later):
            nodes += ast.iter_child_nodes(node)
    above = {
        ".".join(parts[:end])
        for one in modules
        for parts in [one.split(".")]
        for end in range(1, len(parts) + 1)
    }
    return above & {*map(module_name, FILES)} - {module_name(path)}


def test_every_module_imports_alone():
    """A cycle would only affect the module that is imported first; and each can be imported."""
    order = graphlib.TopologicalSorter({module_name(path): imported_first(path) for path in FILES})
    code = "import sys\nfor name in sys.argv[1:]: __import__(name)"
    command = [sys.executable, "-c", code, *order.static_order()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("program", ["harness", "repo_driver", "history", "devices", "commands"])
def test_help_loads_nothing_heavy(program):
    code = (
        f"import sys\nfrom benchmarking.cli.{program} import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'requests', 'rich', 'pydantic', 'scipy', 'matplotlib', 'psutil', 'pynvml', 'git', 'hglib'} & set(sys.modules)))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert output.stdout.splitlines()[-1] == "[]"


# --- how data is declared


@functools.cache
def nodes(kind):
    return [
        node
        for path in FILES
        if FRAMEWORKS not in path.parents
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, kind)
    ]


GROW = {
    *("Activities", "Agent", "Counters", "Following", "JobRun", "Loop", "Notices", "Patience", "State"),
    *("Imported", "Package", "Starter", "Tools"),
    *("_ArmRecord", "_Column", "_DeviceState", "_Entry", "_Listener", "_Points", "_Sums", "_Writer"),
}
"""They collect, count, or hold a connection: the only dataclasses that are not frozen."""
DO_NOTHING = {
    *("ServerConnection.close", "PlatformBase.close", "PlatformBase.recover"),
    *("ReporterBase.begin", "ReporterBase.save", "ReporterBase.finish"),
    "_LogFile.handleError",
}
"""Methods that are allowed to do nothing: those who need more override them."""


def calls(nodes, name):
    """What is called by this name, or is this name."""
    for node in nodes:
        function = node.func if isinstance(node, ast.Call) else node
        if ast.unparse(function).rpartition(".")[2] == name:
            yield node


def given(call):
    keywords = call.keywords if isinstance(call, ast.Call) else []
    return {one.arg: ast.unparse(one.value) for one in keywords}


def test_dataclasses_are_frozen():
    declared = [
        (one.name, given(call))
        for one in nodes(ast.ClassDef)
        for call in calls(one.decorator_list, "dataclass")
    ]
    assert len(declared) > 200
    assert {name for name, options in declared if options.get("frozen") != "True"} == GROW


def test_what_is_read_from_json_is_frozen():
    declared = [
        (one.name, given(statement.value))
        for one in nodes(ast.ClassDef)
        for statement in one.body
        if isinstance(statement, ast.Assign) and [*calls([statement.value], "ConfigDict")]
    ]
    assert len(declared) > 10
    assert [name for name, options in declared if options.get("frozen") != "True"] == []


def without_a_body(function):
    return all(isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant) for one in function.body)


def test_methods_without_a_body_have_to_be_defined_by_each_subclass():
    empty = {
        f"{one.name}.{function.name}"
        for one in nodes(ast.ClassDef)
        for function in one.body
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        and without_a_body(function)
        and not [*calls(function.decorator_list, "abstractmethod")]
        and not [*calls(one.bases, "Protocol")]
    }
    assert empty == DO_NOTHING


def test_arguments_of_our_functions_have_their_names():
    """``/`` would forbid callers to say what they pass."""
    functions = nodes(ast.FunctionDef)
    assert [one.name for one in functions if one.args.posonlyargs] == []


# --- numbers that are promised

LIMITS = ROOT / "docs/limits.md"
NUMERIC = (ast.Constant, ast.BinOp, ast.operator, ast.UnaryOp, ast.unaryop, ast.Tuple, ast.Dict, ast.Load)


def limits(path):
    """Names, values and meanings of a module's numbers, and of what is made of numbers alone."""
    statements = ast.parse(path.read_text(encoding="utf-8")).body
    for statement, following in itertools.zip_longest(statements, statements[1:]):
        value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
        nodes = [*ast.walk(value)] if value else []
        numbers = [one for one in nodes if isinstance(one, ast.Constant) and type(one.value) in (int, float)]
        if numbers and all(isinstance(one, NUMERIC) for one in nodes):
            (name,) = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            is_text = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            meaning = " ".join(str(following.value.value).replace("``", "`").split()) if is_text else ""
            yield ast.unparse(name), ast.unparse(value), meaning


def tables():
    for room, paths in itertools.groupby(
        sorted(PACKAGE.rglob("*.py")), lambda path: path.relative_to(PACKAGE).parts[0]
    ):
        rows = [
            f"| `{name.lstrip('_')}` | `{value}` | {meaning} | `{path.relative_to(PACKAGE)}` |"
            for path in paths
            if room != "frameworks"
            for name, value, meaning in limits(path)
        ]
        if rows:
            heading = "| limit | value | meaning | where |\n|---|---|---|---|"
            yield "\n".join(
                [f"## {room.removesuffix('.py')}", "", heading, *(one.replace("|  |", "| |") for one in rows)]
            )


def test_the_page_of_limits_is_current():
    text = LIMITS.read_text(encoding="utf-8")
    introduction = text.partition("\n## ")[0].rstrip()
    golden.check("\n\n".join([introduction, *tables()]) + "\n", LIMITS)


def test_limits_are_in_capitals():
    names = re.findall(r"^\| `(\w+)`", LIMITS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(names) > 300
    assert all(name.isupper() for name in names)
