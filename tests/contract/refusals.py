"""Parameters that are refused by name, and those of other vendors' servers that mean nothing here."""

from tests.contract.rows import UNSAID, Good, Parameter, refused

_REFUSED = "test_a_parameter_that_is_not_served_is_refused_by_name_and_null_is_as_if_left_out"
_IGNORED = "test_a_parameter_of_another_vendors_server_is_ignored_even_where_parameters_are_strict"


def absent(name: str, effect: str, *values: tuple[str, object]) -> Parameter:
    """A parameter of which only null is taken."""
    return Parameter(name, "null", effect, (Good(None, UNSAID),), refused(*values), (_REFUSED,))


PARAMETERS = (
    absent(
        "conversation",
        "not supported yet: use `previous_response_id`",
        ("an ID", "conv_1"),
        ("its object", {"id": "conv_1"}),
    ),
    absent(
        "context_management", "not supported yet", ("compaction", [{"type": "compaction", "compact_threshold": 1000}])
    ),
    absent("moderation", "not supported", ("a model", {"model": "omni-moderation-latest"})),
    *(
        Parameter(name, "any value", "of another vendor's server; ignored", (Good(value, UNSAID),), (), (_IGNORED,))
        for name, value in {
            "access_programs": {"cyber": "standard"},
            "image": {"context_compression": "auto"},
            "client_metadata": {"a": 1},
        }.items()
    ),
)
