"""What every kind of repository has to do, shown on real ones."""

import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from benchmarking.errors import RemoteError, RunCancelledError, UnknownCommitError, UsageError
from benchmarking.programs.process import Cancellation
from benchmarking.repos import repo_base
from benchmarking.repos.git_submodules import absolute_url
from benchmarking.repos.repo_base import RepoOptions
from benchmarking.repos.repos import make_repo
from benchmarking.results import unix_time
from tests.support.repositories import ISOLATED, MONDAY, REMOTES, find_hg

HOUR = 3600


@pytest.fixture(params=["git", "hg"])
def kind(request, monkeypatch):
    if request.param == "hg" and find_hg() is None:
        pytest.skip("there is no hg here")
    for name, value in ISOLATED.items():
        monkeypatch.setenv(name, value)
    return request.param


@pytest.fixture
def remote(kind, tmp_path):
    return REMOTES[kind](tmp_path / "remote's $(directory)")


@pytest.fixture
def cancellation():
    with Cancellation() as one:
        yield one


@pytest.fixture
def open_repo(kind, tmp_path, cancellation):
    opened = []

    def open_it(directory: Path, **options):
        repo = make_repo(
            kind,
            RepoOptions(
                directory=directory,
                work_directory=tmp_path / f"work-{len(opened)}",
                cancellation=cancellation,
                **options,
            ),
        )
        opened.append(repo)
        return repo

    yield open_it
    for repo in opened:
        repo.close()


def snapshot(directory: Path) -> dict[str, bytes]:
    """All that is in the user's repository, but what Mercurial notes down whenever it reads."""
    kept = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_file() and not name.startswith((".hg/cache", ".hg/wcache")):
            kept[name] = path.read_bytes()
    return kept


def names(revisions):
    return [one.subject for one in revisions]


def test_new_commits_are_seen_and_the_checkout_stays_as_it_is(remote, open_repo, tmp_path):
    first = remote.commit({"a": "1"}, subject="first")
    user = remote.clone(tmp_path / "user")
    (user / "a").write_text("being worked on")
    (user / "untracked").write_text("mine")
    before = snapshot(user)
    second = remote.commit({"a": "2"}, subject="second", time=MONDAY + HOUR)
    third = remote.commit({"a": "3"}, subject="third", time=MONDAY + 2 * HOUR)

    repo = open_repo(user)
    repo.fetch(remote.main_branch)

    assert repo.resolve(remote.main_branch).commit == third
    found = repo.commits_after(first, third)
    assert [one.commit for one in found] == [second, third]
    assert [one.commit_time for one in found] == [MONDAY + HOUR, MONDAY + 2 * HOUR]
    assert found[0].author == "Ann <ann@example.org>"
    repo.check_out(second, tmp_path / "checkout")
    assert (tmp_path / "checkout" / "a").read_text() == "2"
    assert snapshot(user) == before


def test_a_branch_is_its_first_parents(remote, open_repo):
    root = remote.commit({"a": "1"}, subject="root")
    remote.branch("side")
    remote.commit({"side": "1"}, subject="side 1", time=MONDAY + HOUR)
    remote.commit({"side": "2"}, subject="side 2", time=MONDAY + 2 * HOUR)
    remote.switch(remote.main_branch)
    remote.commit({"a": "2"}, subject="own", time=MONDAY + 3 * HOUR)
    tip = remote.merge("side", subject="merge", time=MONDAY + 4 * HOUR)

    repo = open_repo(remote.directory)

    assert names(repo.commits_after(root, tip)) == ["own", "merge"]
    assert names(repo.commits_after(None, tip)) == ["root", "own", "merge"]
    everything = names(repo.commits_after(root, tip, merged_commits=True))
    assert sorted(everything) == ["merge", "own", "side 1", "side 2"]
    assert everything[-1] == "merge"
    assert everything.index("side 1") < everything.index("side 2")


def test_the_chain_goes_to_the_root_over_pages_and_merges(remote, open_repo, monkeypatch):
    monkeypatch.setattr(repo_base, "CHAIN_PAGE", 2)
    remote.commit({"a": "1"}, subject="root")
    remote.commit({"a": "2"}, subject="second")
    remote.branch("side")
    remote.commit({"side": "1"}, subject="side")
    remote.switch(remote.main_branch)
    remote.commit({"a": "3"}, subject="third")
    remote.merge("side", subject="merge")
    tip = remote.commit({"a": "4"}, subject="tip")

    chain = open_repo(remote.directory).chain(tip)

    assert names(chain) == ["tip", "merge", "third", "second", "root"]


def test_is_ancestor(remote, open_repo):
    old = remote.commit({"a": "1"})
    remote.branch("side")
    side = remote.commit({"side": "1"})
    remote.switch(remote.main_branch)
    new = remote.commit({"a": "2"})

    repo = open_repo(remote.directory)

    assert repo.is_ancestor(old, new)
    assert repo.is_ancestor(new, new)
    assert not repo.is_ancestor(new, old)
    assert not repo.is_ancestor(side, new)


def test_a_position_is_higher_than_those_of_all_commits_that_it_holds(remote, open_repo):
    root = remote.commit({"a": "1"})
    remote.branch("side")
    side = [remote.commit({"side": str(number)}) for number in range(3)]
    remote.switch(remote.main_branch)
    own = remote.commit({"a": "2"})
    merge = remote.merge("side")

    repo = open_repo(remote.directory)

    assert [repo.position(one) for one in (root, *side, own, merge)] == [1, 2, 3, 4, 2, 6]


@pytest.mark.parametrize("zone", ["+0000", "-0800", "+0530"])
def test_the_committer_time_counts_in_utc(remote, open_repo, zone):
    commit = remote.commit({"a": "1"}, time=MONDAY + 5, author_time=MONDAY - 400 * 86400, zone=zone)
    assert open_repo(remote.directory).resolve(commit).commit_time == MONDAY + 5


@pytest.mark.parametrize(
    "subject",
    ["Grüße, 世界", 'it\'s "quoted" $(touch pwned) `x`', "tab\there", "{node} %H %x00", "-v --help"],
)
def test_any_subject_and_author(remote, open_repo, subject):
    author = 'Zoë "Z" O\'Neill $(x) <zoe@example.org>'
    commit = remote.commit({"a": "1"}, subject=subject, author=author)
    found = open_repo(remote.directory).resolve(commit)
    assert (found.subject, found.author) == (subject, author)


def test_an_empty_subject(remote, open_repo):
    commit = remote.commit({"a": "1"}, subject="")
    assert open_repo(remote.directory).resolve(commit).subject.strip() == ""


def test_names_of_commits(remote, open_repo, tmp_path):
    first = remote.commit({"a": "1"})
    remote.tag("v1.0")
    remote.branch("topic/one")
    topic = remote.commit({"b": "1"})
    remote.switch(remote.main_branch)
    user = remote.clone(tmp_path / "user")
    repo = open_repo(user if remote.kind == "git" else remote.directory)

    assert repo.resolve("v1.0").commit == first
    assert repo.resolve(first[:9]).commit == first
    assert repo.resolve("topic/one").commit == topic


@pytest.mark.parametrize(
    "name", ["nothing", "--all", "-1", "all()", "f" * 40, "", "a b", "$(touch pwned)", "'); x", "\\x41"]
)
def test_a_name_that_is_none(remote, open_repo, name):
    remote.commit({"a": "1"})
    with pytest.raises(UnknownCommitError, match="no commit, branch or tag") as caught:
        open_repo(remote.directory).resolve(name)
    assert "\n" not in str(caught.value)


def test_a_rewritten_branch_is_followed(remote, open_repo, tmp_path):
    remote.commit({"a": "1"}, subject="kept")
    old = remote.commit({"a": "2"}, subject="dropped")
    repo = open_repo(remote.clone(tmp_path / "user"))
    repo.fetch(remote.main_branch)
    assert repo.resolve(remote.main_branch).commit == old
    remote.drop(1)
    new = remote.commit({"a": "3"}, subject="instead", time=MONDAY + HOUR)

    repo.fetch(remote.main_branch)

    assert repo.resolve(remote.main_branch).commit == new
    assert names(repo.commits_after(old, new)) == ["instead"]
    assert not repo.is_ancestor(old, new)


def test_a_remote_that_is_away_for_a_while(remote, open_repo, tmp_path):
    remote.commit({"a": "1"})
    repo = open_repo(remote.clone(tmp_path / "user"))
    away = remote.directory.rename(tmp_path / "away")
    with pytest.raises(RemoteError, match="cannot fetch") as caught:
        repo.fetch(remote.main_branch)
    assert "\n" not in str(caught.value)
    away.rename(remote.directory)
    new = remote.commit({"a": "2"})
    repo.fetch(remote.main_branch)
    assert repo.resolve(remote.main_branch).commit == new


def test_a_branch_that_the_remote_does_not_have(remote, open_repo, tmp_path):
    remote.commit({"a": "1"})
    with pytest.raises(RemoteError, match="cannot fetch nothing"):
        open_repo(remote.clone(tmp_path / "user")).fetch("nothing")


def test_a_remote_by_its_url(remote, open_repo, tmp_path):
    remote.commit({"a": "1"})
    user = remote.clone(tmp_path / "user")
    other = type(remote)(tmp_path / "other")
    if remote.kind == "hg":  # it only pulls from what is related
        other = type(remote).__new__(type(remote))
        other.directory = remote.clone(tmp_path / "related")
    commit = other.commit({"other": "1"}, subject="of the other")
    repo = open_repo(user, remote=str(other.directory))
    repo.fetch(remote.main_branch)
    assert repo.resolve(remote.main_branch).commit == commit


def test_a_remote_that_is_not_known(remote, open_repo):
    remote.commit({"a": "1"})
    with pytest.raises(UsageError, match="has no remote 'upstream'; it has none"):
        open_repo(remote.directory, remote="upstream")


def test_without_a_remote_the_branch_is_followed_where_the_user_moves_it(remote, open_repo):
    old = remote.commit({"a": "1"})
    repo = open_repo(remote.directory)
    new = remote.commit({"a": "2"})
    repo.fetch(remote.main_branch)
    assert repo.resolve(remote.main_branch).commit == new
    remote.drop(1)
    repo.fetch(remote.main_branch)
    assert repo.resolve(remote.main_branch).commit == old
    instead = remote.commit({"a": "3"}, time=MONDAY + HOUR)
    assert repo.resolve(instead).commit == instead


def test_without_a_remote_the_local_branch_counts(remote, open_repo):
    commit = remote.commit({"a": "1"})
    for repo in (open_repo(remote.directory), open_repo(remote.directory, remote="origin")):
        repo.fetch(remote.main_branch)
        assert repo.resolve(repo.usual_branch()).commit == commit


def test_origin_is_the_usual_remote(remote, open_repo, tmp_path):
    remote.commit({"a": "1"})
    user = remote.clone(tmp_path / "user")
    new = remote.commit({"a": "2"})
    repo = open_repo(user, remote="origin")
    repo.fetch(remote.main_branch)
    assert repo.resolve(remote.main_branch).commit == new


def test_a_password_is_not_shown(remote, open_repo):
    remote.commit({"a": "1"})
    repo = open_repo(remote.directory, remote="https://me:secret@127.0.0.1:9/repo")
    with pytest.raises(RemoteError) as caught:
        repo.fetch(remote.main_branch)
    assert "secret" not in str(caught.value)


# --- checking out -------------------------------------------------------------------------------------------


def files(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in directory.rglob("*")
        if path.is_file() and not {".git", ".hg"} & set(path.relative_to(directory).parts)
    }


def test_a_checkout_is_exactly_the_commit(remote, open_repo, tmp_path):
    ignore = {
        ".gitignore" if remote.kind == "git" else ".hgignore": "build" if remote.kind == "git" else "^build"
    }
    first = remote.commit({**ignore, "a": "1", "gone": "x", "run.sh": "#!/bin/sh\n", "deep/b": "1"})
    second = remote.commit({"a": "2", "gone": None, "new": "y"}, time=MONDAY + HOUR)
    repo = open_repo(remote.directory)
    place = tmp_path / "check out's $(place)"

    repo.check_out(first, place)
    assert files(place) == {**ignore, "a": "1", "gone": "x", "run.sh": "#!/bin/sh\n", "deep/b": "1"}
    assert os.access(place / "run.sh", os.X_OK)
    (place / "a").write_text("changed by a build")
    (place / "untracked").write_text("left by a build")
    (place / "build").mkdir()
    (place / "build" / "object").write_text("kept for the next build")

    repo.check_out(second, place)
    expected = {**ignore, "a": "2", "new": "y", "run.sh": "#!/bin/sh\n", "deep/b": "1"}
    assert files(place) == {**expected, "build/object": "kept for the next build"}
    repo.check_out(second, place, clean=True)
    assert files(place) == expected


def test_two_commits_at_once(remote, open_repo, tmp_path):
    first = remote.commit({"a": "1"})
    second = remote.commit({"a": "2"})
    repo = open_repo(remote.directory)
    repo.check_out(first, tmp_path / "one")
    repo.check_out(second, tmp_path / "two")
    assert ((tmp_path / "one/a").read_text(), (tmp_path / "two/a").read_text()) == ("1", "2")


@pytest.mark.parametrize("damage", ["no metadata", "only metadata", "foreign files", "removed", "locked"])
def test_a_damaged_checkout_is_repaired(remote, open_repo, tmp_path, monkeypatch, damage):
    first = remote.commit({"a": "1", "b": "1"})
    second = remote.commit({"a": "2"})
    repo = open_repo(remote.directory)
    place = tmp_path / "place"
    repo.check_out(first, place)
    metadata = place / f".{remote.kind}"
    if damage == "no metadata":
        metadata.unlink() if metadata.is_file() else shutil.rmtree(metadata)
    elif damage == "only metadata":
        (place / "a").unlink()
        (place / "b").unlink()
    elif damage == "locked":
        if remote.kind == "hg":
            monkeypatch.setattr(repo, "_configuration", ["--config", "ui.timeout=1"])
            (metadata / "wlock").symlink_to("somewhere:1")
        else:
            git_directory = Path(metadata.read_text().removeprefix("gitdir: ").strip())
            (git_directory / "index.lock").write_text("")
    else:
        shutil.rmtree(place)
        if damage == "foreign files":
            place.mkdir()
            (place / "a").write_text("not ours")
            (place / "c").write_text("not ours")
    repo.check_out(second, place)
    assert files(place) == {"a": "2", "b": "1"}


def test_our_own_environment_does_not_lead_astray(remote, open_repo, tmp_path, monkeypatch):
    commit = remote.commit({"a": "1"})
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "nowhere"))
    repo = open_repo(remote.directory)
    assert repo.resolve(commit[:12]).commit == commit
    repo.check_out(commit, tmp_path / "place")
    assert files(tmp_path / "place") == {"a": "1"}


def test_the_users_hooks_do_not_run(remote, open_repo, tmp_path):
    commit = remote.commit({"a": "1"})
    hook = f"touch {tmp_path}/hook_ran"
    if remote.kind == "git":
        path = remote.directory / ".git/hooks/post-checkout"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{hook}\n")
        path.chmod(0o755)
    else:
        (remote.directory / ".hg/hgrc").write_text(f"[hooks]\nupdate = {hook}\n")
    open_repo(remote.directory).check_out(commit, tmp_path / "place")
    assert not (tmp_path / "hook_ran").exists()


def test_a_hanging_remote_can_be_cancelled(remote, open_repo, cancellation, monkeypatch, tmp_path):
    remote.commit({"a": "1"})
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\nsleep 600\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    repo = open_repo(remote.directory, remote="ssh://example.invalid/repo")
    threading.Timer(0.5, cancellation.set).start()
    started = time.monotonic()
    with pytest.raises(RunCancelledError):
        repo.fetch(remote.main_branch)
    assert time.monotonic() - started < 60


def test_other_directories_are_not_repositories(kind, tmp_path, open_repo):
    with pytest.raises(UsageError, match="--repo_dir") as caught:
        open_repo(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_kind_is_found(remote, tmp_path, cancellation):
    remote.commit({"a": "1"})
    options = RepoOptions(remote.directory, tmp_path / "work", cancellation)
    with make_repo(None, options) as repo:
        assert repo.kind == remote.kind


# --- git alone ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["git"], indirect=True)
def test_submodules_come_change_and_go(remote, open_repo, tmp_path):
    inner = REMOTES["git"](tmp_path / "inner")
    inner.commit({"i": "1"})
    allow = ("-c", "protocol.file.allow=always")
    remote.commit({"a": "1"})
    remote.run("git", *allow, "submodule", "--quiet", "add", str(inner.directory), "module")
    with_module = remote.commit({})
    inner.commit({"i": "2"})
    remote.run("git", "-C", "module", *allow, "pull", "--quiet", "origin", "master")
    updated = remote.commit({})
    remote.run("git", "rm", "--quiet", "module")
    removed = remote.commit({".gitmodules": None} if (remote.directory / ".gitmodules").exists() else {})
    repo = open_repo(remote.directory, environment=SUBMODULES_FROM_HERE)
    place = tmp_path / "place"
    repo.check_out(with_module, place)
    assert (place / "module/i").read_text() == "1"
    (place / "module/untracked").write_text("left by a build")
    repo.check_out(updated, place)
    assert (place / "module/i").read_text() == "2"
    assert not (place / "module/untracked").exists()
    repo.check_out(removed, place)
    assert files(place) == {"a": "1"}


SUBMODULES_FROM_HERE = {
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "protocol.file.allow",
    "GIT_CONFIG_VALUE_0": "always",
}


@pytest.mark.parametrize("kind", ["git"], indirect=True)
def test_the_users_mirror_of_a_submodule_is_used_and_stays(remote, open_repo, tmp_path):
    """At any depth; and where the user's URL is only an old one of the project's, the project's is taken."""
    inner, middle, moved = (REMOTES["git"](tmp_path / name) for name in ("inner", "middle", "moved"))
    inner.commit({"i": "1"})
    moved.commit({"moved": "1"})
    allow = ("git", "-c", "protocol.file.allow=always", "submodule", "--quiet")
    middle.run(*allow, "add", str(inner.directory), "deep/inner")
    middle.run("git", "config", "-f", ".gitmodules", "submodule.deep/inner.url", "/nonesuch/inner.git")
    middle.commit({"m": "1"})
    remote.commit({"a": "1"})
    remote.run(*allow, "add", str(middle.directory), "middle")
    remote.run("git", "config", "-f", ".gitmodules", "submodule.middle.url", "/nonesuch/middle.git")
    remote.run(*allow, "add", str(moved.directory), "moved")
    commit = remote.commit({})
    user = remote.clone(tmp_path / "user")
    mirror = ("git", "-C", str(user), "-c", "protocol.file.allow=always")
    remote.run(*mirror, "config", "submodule.middle.url", str(middle.directory))
    remote.run(*mirror, "submodule", "--quiet", "update", "--init", "middle", "moved")
    remote.run("git", "-C", str(user / "middle"), "config", "submodule.deep/inner.url", str(inner.directory))
    before = snapshot(user)
    repo = open_repo(user, environment=SUBMODULES_FROM_HERE)
    place = tmp_path / "place"
    repo.check_out(commit, place)
    wanted = {"a": "1", "middle/m": "1", "middle/deep/inner/i": "1", "moved/moved": "1"}
    assert {name: text for name, text in files(place).items() if ".gitmodules" not in name} == wanted
    assert snapshot(user) == before

    middle.directory = middle.directory.rename(tmp_path / "elsewhere")
    middle.commit({"m": "2"})
    remote.run("git", "config", "-f", ".gitmodules", "submodule.middle.url", str(middle.directory))
    allow_here = ("git", "-C", "middle", "-c", "protocol.file.allow=always")
    remote.run(*allow_here, "pull", "--quiet", str(middle.directory), "master")
    remote.commit({})
    repo.fetch("master")
    repo.check_out(repo.resolve("master").commit, place)
    assert (place / "middle/m").read_text() == "2"


@pytest.mark.parametrize("kind", ["git"], indirect=True)
@pytest.mark.parametrize("of", ["a clone", "no clone"])
def test_submodules_with_relative_urls(remote, open_repo, tmp_path, of):
    near = REMOTES["git"](tmp_path / "near")
    near.commit({"n": "1"})
    remote.commit({"a": "1"})
    if of == "no clone":
        remote.run(
            "git", "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../near", "near"
        )
        user = remote.directory
    else:
        remote.run("git", "clone", "--quiet", str(near.directory), "near")
        remote.write({".gitmodules": '[submodule "near"]\n\tpath = near\n\turl = ../near\n'})
        (tmp_path / "elsewhere").mkdir()
        user = tmp_path / "elsewhere/user"
    commit = remote.commit({})
    if user != remote.directory:
        remote.clone(user)
    place = tmp_path / "place"
    open_repo(user, environment=SUBMODULES_FROM_HERE).check_out(commit, place)
    assert (place / "near/n").read_text() == "1"


@pytest.mark.parametrize(
    ("url", "base", "expected"),
    [
        ("https://x/y.git", "https://example.org/a/b.git", "https://x/y.git"),
        ("../y.git", "https://example.org/a/b.git", "https://example.org/a/y.git"),
        ("../../y", "https://example.org/a/b/", "https://example.org/y"),
        ("./y", "/srv/git/b", "/srv/git/b/y"),
        ("../y", "ann@example.org:b", "ann@example.org:y"),
        ("../../y", "ann@example.org:a/b", "ann@example.org:y"),
    ],
)
def test_an_absolute_url(url, base, expected):
    assert absolute_url(url, base) == expected


@pytest.mark.parametrize("kind", ["git"], indirect=True)
def test_a_submodule_becomes_a_directory_and_a_file_and_comes_back(remote, open_repo, tmp_path):
    inner = REMOTES["git"](tmp_path / "inner")
    inner.commit({"i": "1"})
    remote.commit({"a": "1"})
    remote.run(
        "git", "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner.directory), "m"
    )
    with_module = remote.commit({})
    remote.run("git", "rm", "--quiet", "-f", "m")
    directory = remote.commit({"m/own": "1"}, time=MONDAY + HOUR)
    shutil.rmtree(remote.directory / "m")
    file = remote.commit({"m": "1"}, time=MONDAY + 2 * HOUR)
    repo = open_repo(remote.directory, environment=SUBMODULES_FROM_HERE)
    place = tmp_path / "place"
    contents = {with_module: {"m/i": "1"}, directory: {"m/own": "1"}, file: {"m": "1"}}
    for commit in (with_module, directory, with_module, file, with_module, file, directory):
        repo.check_out(commit, place)
        found = {name: text for name, text in files(place).items() if name.startswith("m")}
        assert found == contents[commit]
        assert (place / "m/.git").exists() == (commit == with_module)


@pytest.mark.parametrize("kind", ["git"], indirect=True)
def test_branches_that_become_directories_and_back(remote, open_repo, tmp_path):
    commit = remote.commit({"a": "1"})
    remote.run("git", "branch", "release")
    user = remote.clone(tmp_path / "user")
    before = snapshot(user)
    repo = open_repo(user)
    for old, new in (
        ("release", "release/1.0"),
        ("release/1.0", "release/1.0/rc"),
        ("release/1.0/rc", "release"),
    ):
        repo.fetch(old)
        remote.run("git", "branch", "-m", old, "x")
        remote.run("git", "branch", "-m", "x", new)
        with pytest.raises(RemoteError, match="cannot fetch"):
            repo.fetch(old)
        repo.fetch(new)
        assert repo.resolve(new).commit == commit
        assert repo.resolve(old).commit == commit  # as it was fetched last
    assert snapshot(user) == before


@pytest.mark.parametrize("kind", ["git"], indirect=True)
def test_tags_that_move_stay_the_users_and_new_ones_are_found(remote, open_repo, tmp_path):
    first = remote.commit({"a": "1"})
    remote.run("git", "tag", "moved")
    remote.run("git", "tag", "v1")
    user = remote.clone(tmp_path / "user")
    remote.run("git", "-C", str(user), "config", "remote.origin.tagOpt", "--tags")
    before = snapshot(user)
    second = remote.commit({"a": "2"})
    remote.run("git", "tag", "--force", "moved")
    remote.run("git", "tag", "-d", "v1")
    remote.tag("v1/rc")
    remote.tag("new")
    repo = open_repo(user)
    repo.fetch("master")
    assert [repo.resolve(one).commit for one in ("moved", "v1", "v1/rc", "new")] == [
        first,
        first,
        second,
        second,
    ]
    with pytest.raises(UnknownCommitError):
        repo.resolve("v2")
    assert snapshot(user) == before


@pytest.mark.parametrize("kind", ["git"], indirect=True)
@pytest.mark.parametrize("damage", ["emptied", "no references", "the user has pruned"])
def test_a_damaged_private_repository_is_created_again(remote, open_repo, tmp_path, damage):
    old = remote.commit({"a": "1"})
    user = remote.clone(tmp_path / "user")
    repo = open_repo(user)
    new = remote.commit({"a": "2"})
    repo.fetch("master")
    own = tmp_path / "work-0/repository.git"
    repo.check_out(new, tmp_path / "place")
    if damage == "emptied":
        shutil.rmtree(own)
        own.mkdir()
    elif damage == "no references":
        (own / "objects/info/alternates").write_text("/nonesuch\n")
    else:
        for path in user.glob(f".git/objects/{old[:2]}/{old[2:]}"):
            path.unlink()
    again = make_repo("git", RepoOptions(user, tmp_path / "work-0", repo._options.cancellation))
    with again:
        if damage != "the user has pruned":
            again.fetch("master")
            assert again.resolve("master").commit == new
            again.check_out(new, tmp_path / "place")
    assert own.is_dir()
    assert (tmp_path / "place/a").read_text() == "2"


@pytest.mark.parametrize("kind", ["git"], indirect=True)
def test_a_shallow_clone(remote, open_repo, tmp_path):
    for number in range(3):
        remote.commit({"a": str(number)}, subject=f"{number}")
    user = tmp_path / "user"
    remote.run("git", "clone", "--quiet", "--depth=1", f"file://{remote.directory}", str(user))
    new = remote.commit({"a": "new"}, subject="new")
    repo = open_repo(user)
    repo.fetch("master")
    assert repo.resolve("master").commit == new
    assert names(repo.commits_after(None, new)) == ["2", "new"]
    repo.check_out(new, tmp_path / "place")
    assert files(tmp_path / "place") == {"a": "new"}


@pytest.mark.parametrize("kind", ["git"], indirect=True)
@pytest.mark.parametrize("of", ["bare", "linked worktree", "submodule", "blobless", "borrowing", "odd path"])
def test_every_kind_of_clone(remote, open_repo, tmp_path, of):
    remote.commit({"a": "1", "b": "1"})
    remote.run("git", "config", "uploadpack.allowFilter", "true")
    user = tmp_path / ('odd "\\ \t# path' if of == "odd path" else "user")
    options = {
        "bare": ["--bare", f"{remote.directory}"],
        "blobless": ["--filter=blob:none", "--no-checkout", f"file://{remote.directory}"],
        "borrowing": ["--shared", f"{remote.directory}"],
    }.get(of, [f"{remote.directory}"])
    if of == "submodule":
        outer = REMOTES["git"](tmp_path / "outer")
        allow = ("git", "-c", "protocol.file.allow=always", "submodule", "--quiet")
        outer.run(*allow, "add", *options, "user")
        user = outer.directory / "user"
    else:
        remote.run("git", "clone", "--quiet", *options, str(user))
    if of == "linked worktree":
        linked = tmp_path / "linked"
        remote.run("git", "-C", str(user), "worktree", "add", "--quiet", "--detach", str(linked))
        user = linked
    before = snapshot(user)
    new = remote.commit({"a": "2"})
    repo = open_repo(user)
    repo.fetch("master")
    assert repo.resolve("master").commit == new
    repo.check_out(new, tmp_path / "place")
    assert files(tmp_path / "place") == {"a": "2", "b": "1"}
    assert snapshot(user) == before


@pytest.mark.parametrize("kind", ["git"], indirect=True)
def test_hashes_of_sha256(remote, open_repo, tmp_path):
    shutil.rmtree(remote.directory / ".git")
    remote.run("git", "init", "--quiet", "--initial-branch=master", "--object-format=sha256")
    remote.commit({"a": "1"})
    repo = open_repo(remote.clone(tmp_path / "user"))
    new = remote.commit({"a": "2"})
    repo.fetch("master")
    assert len(new) == 64
    repo.check_out(repo.resolve("master").commit, tmp_path / "place")
    assert files(tmp_path / "place") == {"a": "2"}


@pytest.mark.parametrize("kind", ["git"], indirect=True)
def test_the_users_own_settings_lead_to_the_remote_but_not_into_our_checkout(remote, open_repo, tmp_path):
    remote.commit({"a": "1", "deep/b": "1"})
    user = remote.clone(tmp_path / "user")
    settings = ("git", "-C", str(user), "config")
    remote.run(*settings, f"url.{remote.directory}.insteadOf", "short:")
    remote.run(*settings, "remote.origin.url", "short:")
    remote.run(*settings, "core.sparseCheckout", "true")
    remote.run(*settings, "core.bare", "false")
    new = remote.commit({"a": "2"})
    repo = open_repo(user)
    repo.fetch("master")
    repo.check_out(repo.resolve("master").commit, tmp_path / "place")
    assert repo.resolve("master").commit == new
    assert files(tmp_path / "place") == {"a": "2", "deep/b": "1"}


@pytest.mark.parametrize("kind", ["git"], indirect=True)
def test_without_master_the_default_branch_of_the_remote_is_used(remote, open_repo, tmp_path):
    remote.commit({"a": "1"})
    remote.run("git", "branch", "-m", "main")
    assert open_repo(remote.directory).usual_branch() == "main"
    assert open_repo(remote.clone(tmp_path / "user")).usual_branch() == "main"


@pytest.mark.parametrize("kind", ["git"], indirect=True)
@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("0 +0000", 0),
        ("4102444800 +0100", 4102444800),
        ("253402300800 +0000", 253402300800),
        ("9999999999999999999999999 +0000", unix_time.LAST_SECOND),
        ("-5 +0000", 0),
        ("", 0),
        ("soon", 0),
    ],
)
def test_times_that_no_clock_has(remote, open_repo, written, read):
    parent = remote.commit({"a": "1"})
    commit = remote.commit_at(written)
    repo = open_repo(remote.directory)
    assert repo.resolve(commit).commit_time == read
    assert [one.commit for one in repo.commits_after(parent, commit)] == [commit]


# --- Mercurial alone ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["hg"], indirect=True)
@pytest.mark.parametrize("time", [-86_400, 0, 2**31 - 1])
def test_the_times_that_mercurial_has(remote, open_repo, time):
    commit = remote.commit({"a": "1"}, time=time)
    assert open_repo(remote.directory).resolve(commit).commit_time == time


@pytest.mark.parametrize("kind", ["hg"], indirect=True)
def test_a_killed_command_server_is_replaced(remote, open_repo):
    commit = remote.commit({"a": "1"})
    repo = open_repo(remote.directory)
    assert repo.resolve(commit).commit == commit
    repo._client.server.kill()
    repo._client.server.wait()
    assert repo.resolve(commit).commit == commit
