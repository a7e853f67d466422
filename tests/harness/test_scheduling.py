"""The order of the tests in a parallel run, and the tests that run in the same worker."""

import pytest

from tests.harness import scheduling

E2E = "tests/e2e/clients/test_background.py::"


def test_every_file_of_the_longest_tests_exists() -> None:
    assert [path for path in scheduling.LONGEST_FILES if not (scheduling.ROOT / path).is_file()] == []


def test_the_longest_tests_run_first_and_tests_without_processes_last() -> None:
    nodeids = [
        "tests/worker/models/test_sse.py::a",
        f"{E2E}b",
        f"{scheduling.LONGEST_FILES[1]}::c",
        f"{scheduling.LONGEST_FILES[0]}::d",
    ]

    assert sorted(nodeids, key=scheduling.find_rank) == nodeids[::-1]


@pytest.mark.parametrize(
    ("nodeid", "unit"),
    [
        (f"{E2E}test_a_request_to_a_busy_model_server_is_retried_after_its_retry_after", scheduling.SHARED_STACK),
        (
            "tests/e2e/clients/test_streams.py::test_a_stream_of_another_project_and_of_an_unknown_id_return_the_same_error",
            scheduling.SHARED_STACK,
        ),
        (f"{E2E}test_a_response_without_a_reachable_model_server_fails_at_its_deadline", "itself"),
        (
            "tests/e2e/models/test_continuation.py::test_the_output_limit_includes_the_tokens_of_the_lost_attempt",
            "its file",
        ),
        ("tests/worker/models/test_sse.py::test_x[a::b]", "its file"),
    ],
)
def test_tests_that_share_a_deployment_or_a_fixture_are_one_unit(nodeid: str, unit: str) -> None:
    expected = {"itself": nodeid, "its file": nodeid.partition("::")[0]}.get(unit, unit)

    assert scheduling.find_unit(nodeid) == expected
