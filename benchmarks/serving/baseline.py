"""The build of another commit, in a git worktree of its own."""

from pathlib import Path

from benchmarks.serving.commands import run


def short_hash(repository: Path, commit: str) -> str:
    """Return the first digits of the commit's hash; raise NotRun if there is no such commit."""
    return _git(commit, repository, "rev-parse", "--verify", "--short=7", f"{commit}^{{commit}}").strip()


def check_out(repository: Path, commit: str, tree: Path) -> None:
    """Have the commit's files in a worktree, which is made unless it exists. Raises NotRun if git fails."""
    if not (tree / ".git").exists():
        # The repository may still list a worktree whose folder was deleted; --force replaces it.
        _git(commit, repository, "worktree", "add", "--quiet", "--force", "--detach", str(tree.absolute()), commit)
    _git(commit, tree, "checkout", "--quiet", "--force", "--detach", commit)


def _git(commit: str, folder: Path, *arguments: str) -> str:
    return run(f"the build of {commit}", "git", *arguments, folder=folder)
