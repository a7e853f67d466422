"""Operators' commands for projects, keys and the audit log."""

import json
import re

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from core import errors
from core.bootstrap import Core
from core.settings import Settings

SECRET_PATTERN = r"sk-bb-[\w-]{43}\n"


@pytest.fixture
def run_command(settings: Settings):
    """A function that runs a `backburner` command with the servers of this test."""
    env = {
        "BACKBURNER_HOME": str(settings.home),
        "BACKBURNER_CONFIG": str(settings.config),
        "BACKBURNER_DATABASE_URL": settings.database_url.get_secret_value(),
        "BACKBURNER_REDIS_URL": settings.redis_url.get_secret_value(),
    }

    def run_command(*arguments: str, should_fail: bool = False) -> Result:
        result = CliRunner().invoke(main, arguments, env=env)
        assert (result.exit_code != 0) == should_fail, result.output
        assert "Traceback" not in result.output
        return result

    return run_command


def test_the_create_and_rotate_commands_print_only_the_new_key(core: Core, run_command) -> None:
    run_command("projects", "create", "team-a")
    run_command("projects", "create", "team-b")
    creation = run_command(
        "keys", "create", "--project", "team-a", "--rights", "read,cancel", "--also", "team-b", "--name", "x y"
    )
    caller = core.keys.caller(creation.output.strip())
    rotation = run_command("keys", "rotate", caller.key_id)
    listing = run_command("keys", "list", "--project", "team-a").output

    assert re.fullmatch(SECRET_PATTERN, creation.output)
    assert re.fullmatch(SECRET_PATTERN, rotation.output)
    assert (caller.project, caller.rights, len(caller.projects)) == ("team-a", {"read", "cancel"}, 2)
    assert core.keys.caller(rotation.output.strip()) == caller
    with pytest.raises(errors.InvalidKey):
        core.keys.caller(creation.output.strip())
    assert creation.output.strip() not in listing + rotation.output
    assert f"{caller.key_id}  team-a+team-b  …{rotation.output.strip()[-4:]}  cancel,read" in listing
    assert re.search(rf"revoked .*replaced by {caller.key_id}", listing)
    assert run_command("keys", "list", "--project", "team-b").output == ""


def test_an_invalid_command_reports_its_error_and_changes_nothing(core: Core, run_command) -> None:
    run_command("projects", "create", "team-a")
    keys = core.keys.list_keys()

    for arguments, message in (
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
        assert message in run_command(*arguments, should_fail=True).output

    assert core.keys.list_keys() == keys
    assert [project.name for project in core.projects.all()] == ["team-a"]


def test_the_audit_command_lists_the_operations_by_project_and_time(core: Core, run_command) -> None:
    project_id = run_command("projects", "create", "team-a").output.strip()
    secret = run_command("keys", "create", "--project", "team-a").output.strip()
    key_id = core.keys.caller(secret).key_id
    run_command("keys", "revoke", key_id)
    run_command("keys", "revoke", key_id)
    run_command("keys", "create", "--project", "team-b")

    entries = [json.loads(line) for line in run_command("audit", "--project", "team-a", "--json").output.splitlines()]
    assert [(entry["action"], entry["object_id"]) for entry in entries] == [
        ("project.created", project_id),
        ("key.created", key_id),
        ("key.revoked", key_id),
    ]
    assert {entry["actor"] for entry in entries} == {"operator"}
    assert all(entry["os_user"] for entry in entries)
    assert len(run_command("audit", "--since", "1h").output.splitlines()) == 5
    assert secret not in run_command("audit").output
    assert run_command("audit", "--since", "2100-01-01").output == ""
    for line in run_command("audit", "--limit", "1").output.splitlines():
        assert "operator" in line and "key.created" in line
