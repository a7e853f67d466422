"""Operators' commands for projects, keys and the audit log."""

import json
import re

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from core import errors
from core.bootstrap import Core
from core.settings import Settings

SECRET = r"sk-bb-[\w-]{43}\n"


@pytest.fixture
def run(settings: Settings):
    """A function that runs a `backburner` command on this test's servers."""
    env = {
        "BACKBURNER_HOME": str(settings.home),
        "BACKBURNER_CONFIG": str(settings.config),
        "BACKBURNER_DATABASE_URL": settings.database_url.get_secret_value(),
        "BACKBURNER_REDIS_URL": settings.redis_url.get_secret_value(),
    }

    def run(*words: str, fails: bool = False) -> Result:
        done = CliRunner().invoke(main, words, env=env)
        assert (done.exit_code != 0) == fails, done.output
        assert "Traceback" not in done.output
        return done

    return run


def test_a_key_is_printed_once_alone_on_its_line_when_it_is_made_and_when_it_is_rotated(core: Core, run) -> None:
    run("projects", "create", "team-a")
    run("projects", "create", "team-b")
    made = run("keys", "create", "--project", "team-a", "--rights", "read,cancel", "--also", "team-b", "--name", "x y")
    caller = core.keys.caller(made.output.strip())
    rotated = run("keys", "rotate", caller.key_id)
    listed = run("keys", "list", "--project", "team-a").output

    assert re.fullmatch(SECRET, made.output)
    assert re.fullmatch(SECRET, rotated.output)
    assert (caller.project, caller.rights, len(caller.projects)) == ("team-a", {"read", "cancel"}, 2)
    assert core.keys.caller(rotated.output.strip()) == caller
    with pytest.raises(errors.InvalidKey):
        core.keys.caller(made.output.strip())
    assert made.output.strip() not in listed + rotated.output
    assert f"{caller.key_id}  team-a+team-b  …{rotated.output.strip()[-4:]}  cancel,read" in listed
    assert re.search(rf"revoked .*replaced by {caller.key_id}", listed)
    assert run("keys", "list", "--project", "team-b").output == ""


def test_what_cannot_be_made_is_refused_in_one_line_and_leaves_nothing(core: Core, run) -> None:
    run("projects", "create", "team-a")
    keys = core.keys.listed()

    for words, says in (
        (("projects", "create", "team-a"), "named 'team-a' already exists"),
        (("projects", "create", "proj_x"), "must not begin with"),
        (("projects", "show", "nobody"), "no project 'nobody'"),
        (("keys", "create", "--project", "new", "--also", "nobody"), "no project 'nobody'"),
        (("keys", "create", "--rights", "fly"), "'fly' is not one of"),
        (("keys", "create", "--name", "a\nb"), "printable"),
        (("keys", "rotate", "key_x"), "no key 'key_x'"),
        (("keys", "revoke", "key_x"), "no key 'key_x'"),
        (("audit", "--since", "soon"), "'soon' is neither"),
    ):
        assert says in run(*words, fails=True).output

    assert core.keys.listed() == keys
    assert [project.name for project in core.projects.all()] == ["team-a"]


def test_the_audit_log_says_what_operators_did_by_project_and_time(core: Core, run) -> None:
    project_id = run("projects", "create", "team-a").output.strip()
    secret = run("keys", "create", "--project", "team-a").output.strip()
    key_id = core.keys.caller(secret).key_id
    run("keys", "revoke", key_id)
    run("keys", "revoke", key_id)
    run("keys", "create", "--project", "team-b")

    entries = [json.loads(line) for line in run("audit", "--project", "team-a", "--json").output.splitlines()]
    assert [(entry["action"], entry["object_id"]) for entry in entries] == [
        ("project.created", project_id),
        ("key.created", key_id),
        ("key.revoked", key_id),
    ]
    assert {entry["actor"] for entry in entries} == {"operator"}
    assert all(entry["os_user"] for entry in entries)
    assert len(run("audit", "--since", "1h").output.splitlines()) == 5
    assert secret not in run("audit").output
    assert run("audit", "--since", "2100-01-01").output == ""
    for line in run("audit", "--limit", "1").output.splitlines():
        assert "operator" in line and "key.created" in line
