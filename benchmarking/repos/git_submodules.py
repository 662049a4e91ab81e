"""The submodules of a private checkout, fetched from where the user's clone gets them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarking.errors import RemoteError
from benchmarking.programs.command import Outcome
from benchmarking.repos.repo_base import require_success

NO_HOOKS = ("-c", "core.hooksPath=/dev/null")
"""The user's hooks are only for the user's checkouts."""


@dataclass(frozen=True)
class Level:
    """A repository with submodules: the checkout, or a submodule in it."""

    directory: Path
    users: Path
    """The git directory of the same repository in the user's clone, which may not exist."""
    url: str
    """The URL of the repository; a submodule's relative URL is relative to it."""


@dataclass(frozen=True)
class GitSubmodules:
    run: Callable[[Sequence[str], Path], Outcome]
    """A command line in a directory."""

    def update(self, level: Level, clean: bool) -> None:
        """Updates all submodules, at any depth, to the checked-out commits.

        Raises:
            RemoteError: one cannot be fetched.
        """
        self._update(level)
        sweep = "git clean -ffdqx" if clean else "git clean -ffdq"
        self._require(("submodule", "--quiet", "foreach", "--recursive", sweep), level.directory)

    def _update(self, level: Level) -> None:
        modules = self._settings(("--blob", "HEAD:.gitmodules"), level.directory)
        declared = {name: absolute_url(one["url"], level.url) for name, one in modules.items()}
        own = self._settings(("--includes", "--file", str(level.users / "config")), level.directory)
        users = {name: absolute_url(one["url"], level.url) for name, one in own.items() if name in declared}
        urls = {**declared, **users}
        outcome = self._fetch(level, urls)
        if outcome.exit_code != 0 and urls != declared:
            # git writes every URL into the user's configuration once: it may be an old URL of the project.
            urls = declared
            outcome = self._fetch(level, urls)
        require_success(outcome, "cannot update the submodules", RemoteError)
        for name, one in modules.items():
            directory = level.directory / one.get("path", name)
            if (directory / ".git").exists():
                self._update(Level(directory, level.users / "modules" / name, urls[name]))

    def _fetch(self, level: Level, urls: Mapping[str, str]) -> Outcome:
        directory = self._require(("rev-parse", "--absolute-git-dir"), level.directory).stdout.rstrip("\n")
        for name, url in urls.items():
            configuration = Path(directory, "modules", name, "config")
            if configuration.is_file():
                argv = ("config", "--file", str(configuration), "remote.origin.url", url)
                self._require(argv, level.directory)
        # Given for this command alone, so that git does not remember any of them.
        settings = {"clone.defaultRemoteName": "origin"} | {
            f"submodule.{name}.url": urls[name] for name in urls
        }
        options = (word for name, value in settings.items() for word in ("-c", f"{name}={value}"))
        update = ("submodule", "--quiet", "update", "--init", "--force")
        return self.run(("git", *NO_HOOKS, *options, *update), level.directory)

    def _settings(self, source: Sequence[str], directory: Path) -> dict[str, dict[str, str]]:
        """The settings of each submodule that has a URL; empty if there is no such file."""
        argv = ("git", "config", *source, "--null", "--get-regexp", r"^submodule\..*\.(path|url)$")
        found: dict[str, dict[str, str]] = {}
        for row in self.run(argv, directory).stdout.split("\0")[:-1]:
            key, _, value = row.partition("\n")
            name, _, setting = key.removeprefix("submodule.").rpartition(".")
            found.setdefault(name, {})[setting] = value
        return {name: one for name, one in found.items() if "url" in one and _is_safe(name, one["url"])}

    def _require(self, arguments: Sequence[str], directory: Path) -> Outcome:
        outcome = self.run(("git", *NO_HOOKS, *arguments), directory)
        require_success(outcome, f"git {arguments[0]} in {directory}", RemoteError)
        return outcome


def _is_safe(name: str, url: str) -> bool:
    """Follows git's own rules: a name is a directory in the repository, and a URL is not an option."""
    return ".." not in Path(name).parts and not name.startswith("/") and not url.startswith("-")


def absolute_url(url: str, base: str) -> str:
    """``url`` as git reads it if it begins with ``./`` or ``../``: relative to the URL ``base``."""
    base, separator = base.rstrip("/"), "/"
    if not url.startswith(("./", "../")):
        return url
    while url.startswith(("./", "../")):
        if url.startswith("../"):
            cut = max(base.rfind("/"), base.rfind(":"))
            base, separator = base[: max(cut, 0)], base[cut] if cut >= 0 else "/"
        url = url.partition("/")[2]
    return f"{base}{separator}{url}".rstrip("/")
