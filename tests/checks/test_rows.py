"""The rows of the table of measures, on small source trees."""

from pathlib import Path
from typing import get_args

import pytest
from openai.types.responses import ResponseError
from openresponses_types.types import ResponseResource

from checks.measure import Measure
from checks.measures import measure_tree
from checks.rows import wire_names
from checks.rows.names import find_retired_word
from checks.tree import read_folder
from tests.checks.clones import PYPROJECT, python_lines

ROUTES = '''
@routes.get("/")
def short():
    """One line."""
    return 1


@routes.post("/")
async def long():
    """Seven lines."""
    a = 1
    b = 2
    c = 3
    d = 4

    e = 5
    return a
'''

SQL = '''
"""insert into responses: docstrings are ignored."""
CREATE = "with x as (select 1) INSERT  INTO responses (id) select 'queued'"
AGAIN = f"insert into responses ({CREATE}) select 'queued', 'failed'"
OTHER = "insert into response_events (id) values (1); select finished_at = now() from attempts"
CLAIM = "update responses r set lane = 'a', attempt = attempt + 1, status = 'in_progress' from held where finished_at = 1"
END = "update responses set status = %s, finished_at = now() where id = 1"
MOVED = "update attempts set finished_at = now()"
'''

CLIENTS = """
import redis

a = redis.Redis.from_url("x")
b = redis.asyncio.Redis(host="x")
c = redis.Redis
raise Error("text of server_error", code="server_error")
"""

TYPES = """
from typing import Any

Document = dict[str, Any]


class Store:
    def __init__(self, x: int): ...
    @staticmethod
    def make(x) -> None: ...
    def bare(self): ...
    async def good(self, *args: Any, **kwargs: list[Any]) -> None: ...
"""


def measure_files(root: Path, files: dict[str, str]) -> dict[str, Measure]:
    """Measure a tree with these files and the packages `app`, `core` and `bench`."""
    packages = {f"{name}/__init__.py": "" for name in ("app", "core", "bench")}
    for path, text in {"pyproject.toml": PYPROJECT, **packages, **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return {measure.key: measure for measure in measure_tree(read_folder(root))}


def read_values(measures: dict[str, Measure], *keys: str) -> list[int | None]:
    return [measures[key].value for key in keys]


def read_places(measures: dict[str, Measure], key: str) -> list[str]:
    return [f"{place.path}:{place.line}" for place in measures[key].places]


def test_layers_and_ignored_imports_come_from_pyproject(tmp_path: Path) -> None:
    measures = measure_files(tmp_path, {})

    assert read_values(measures, "core_layers", "core_layer_names", "ignored_imports") == [3, 5, 1]


def test_only_modules_in_an_import_cycle_are_counted(tmp_path: Path) -> None:
    cycle = {"core/a.py": "import core.b", "core/b.py": "from core import c", "core/c.py": "from core.a import x"}

    measures = measure_files(tmp_path, cycle | {"core/d.py": "import core.a", "app/e.py": "import core.d"})

    assert [place.note.split()[0] for place in measures["cyclic_modules"].places] == ["core.a", "core.b", "core.c"]


def test_no_module_of_the_tree_is_executed(tmp_path: Path) -> None:
    measure_files(tmp_path, {"core/__init__.py": "raise SystemExit('run')", "app/a.py": "import core"})


def test_crowded_folders_and_their_excess_modules_are_counted(tmp_path: Path) -> None:
    files = {f"core/m{n}.py": "" for n in range(15)} | {f"tests/unit/m{n}.py": "" for n in range(17)}

    measures = measure_files(tmp_path, files)

    assert read_values(measures, "folder_modules", "test_folder_modules", "crowded_folders", "crowding") == [
        16,
        17,
        2,
        5,
    ]


def test_only_lines_of_product_files_are_measured(tmp_path: Path) -> None:
    files = {f"core/m{n}.py": python_lines(n) for n in (10, 20, 30, 40)} | {"bench/b.py": python_lines(500)}

    measures = measure_files(tmp_path, files)

    assert read_values(measures, "file_lines_median", "file_lines_p90", "file_lines_max") == [30, 40, 40]


def test_long_functions_are_counted_and_located(tmp_path: Path) -> None:
    body = "".join(f"    x = {n}\n" for n in range(40))

    measures = measure_files(tmp_path, {"core/a.py": f"def short():\n    return 1\n\n\ndef long():\n{body}"})

    assert read_values(measures, "function_lines_median", "function_lines_max", "long_functions") == [41, 41, 1]
    assert read_places(measures, "long_functions") == ["core/a.py:5"]


def test_bodies_of_routes_are_measured_without_docstrings(tmp_path: Path) -> None:
    measures = measure_files(tmp_path, {"app/a.py": ROUTES})

    assert read_values(measures, "route_lines", "long_routes") == [7, 1]
    assert read_places(measures, "long_routes") == ["app/a.py:9"]


def test_bodies_of_endpoints_are_measured_by_their_signature(tmp_path: Path) -> None:
    endpoint = "def show(exchange: Exchange) -> Answer:\n    a = 1\n    return answer(a)\n"
    other_functions = (
        "def _part(exchange: Exchange) -> Answer:\n    return a\ndef after(exchange: Exchange) -> str:\n    return b\n"
    )

    measures = measure_files(tmp_path, {"app/a.py": endpoint + other_functions})

    assert read_values(measures, "route_lines", "long_routes") == [2, 0]


def test_any_and_missing_annotations_are_counted(tmp_path: Path) -> None:
    measures = measure_files(tmp_path, {"core/a.py": TYPES})

    assert read_values(measures, "any_types", "any_dicts", "unannotated_functions") == [3, 1, 2]
    assert read_places(measures, "unannotated_functions") == ["core/a.py:10", "core/a.py:11"]


def test_statements_that_create_claim_and_end_are_counted(tmp_path: Path) -> None:
    measures = measure_files(tmp_path, {"core/a.py": SQL, "core/tables/b.py": "CHECK = \"status = 'queued'\""})

    assert read_values(measures, "create_statements", "claim_statements", "end_statements") == [2, 1, 1]
    assert read_places(measures, "status_literals") == ["core/a.py:3", "core/a.py:4", "core/a.py:4", "core/a.py:6"]


def test_a_measure_without_places_has_no_value(tmp_path: Path) -> None:
    assert read_values(measure_files(tmp_path, {}), "create_statements", "redis_clients", "route_lines") == [
        None,
        None,
        None,
    ]


def test_modules_with_all_field_names_of_the_response_object_are_counted(tmp_path: Path) -> None:
    text = " ".join(wire_names.RESPONSE_FIELDS)

    measures = measure_files(tmp_path, {"core/a.py": f'X = "{text}"', "tests/b.py": f"# {text}", "core/c.py": "id = 1"})

    assert read_places(measures, "response_object_modules") == ["core/a.py:1", "tests/b.py:1"]


def test_error_codes_outside_their_module_and_redis_clients_are_counted(tmp_path: Path) -> None:
    measures = measure_files(tmp_path, {"core/a.py": CLIENTS, "core/wire/codes.py": 'A = "server_error"'})

    assert read_values(measures, "redis_clients", "error_code_literals") == [1, 1]


def test_the_wire_names_are_equal_to_the_names_of_the_api() -> None:
    assert set(get_args(ResponseError.model_fields["code"].annotation)) == wire_names.ERROR_CODES
    assert wire_names.RESPONSE_FIELDS - {"user", "prompt_cache_retention"} == set(ResponseResource.model_fields)


def test_names_that_are_used_more_than_once_are_counted(tmp_path: Path) -> None:
    text = "class A: ...\nclass B: ...\ndef close(): ...\ndef close_all(): ...\n"

    measures = measure_files(
        tmp_path, {"core/same.py": text, "app/same.py": text.replace("B", "C"), "app/other.py": ""}
    )

    assert read_values(measures, "one_word_functions", "function_namesakes") == [50, 2]
    assert read_values(measures, "repeated_classes", "repeated_files") == [1, 1]
    assert read_places(measures, "repeated_classes") == ["app/same.py:1", "core/same.py:1"]


def test_definitions_with_retired_words_are_counted_once_per_file(tmp_path: Path) -> None:
    text = "class EventHub: ...\ndef run(rung_at):\n    self.rung_at = hub\n    x = away\n"

    measures = measure_files(tmp_path, {"core/hub.py": text})

    assert [place.note.split()[0] for place in measures["retired_names"].places] == ["hub", "EventHub", "rung_at"]


@pytest.mark.parametrize(
    ("identifier", "word"),
    [
        ("rung_at", "rung"),
        ("presence_penalty", None),
        ("_HubReader", "hub"),
        ("HTTPPulse", "pulse"),
        ("let_go", "let_go"),
        ("outlet_going", None),
        ("Answer", "Answer"),
        ("AnswerText", None),
        ("ring", "ring"),
        ("string", None),
        ("bring_away", "away"),
        ("so_far", "so_far"),
    ],
)
def test_a_retired_word_is_found_only_as_a_complete_word(identifier: str, word: str | None) -> None:
    assert find_retired_word(identifier) == word
