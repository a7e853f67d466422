"""Parameters that are not supported, and parameters of other vendors' servers that are ignored."""

from tests.contract.rows import UNSAID, Good, Parameter, unsupported_values

_UNSUPPORTED_TEST = "test_a_parameter_that_is_not_served_is_refused_by_name_and_null_is_as_if_left_out"
_IGNORED_TEST = "test_a_parameter_of_another_vendors_server_is_ignored_even_where_parameters_are_strict"


def unsupported(name: str, effect: str, *values: tuple[str, object]) -> Parameter:
    """A parameter that must be null."""
    return Parameter(name, "null", effect, (Good(None, UNSAID),), unsupported_values(*values), (_UNSUPPORTED_TEST,))


PARAMETERS = (
    unsupported(
        "conversation",
        "not supported yet: use `previous_response_id`",
        ("an ID", "conv_1"),
        ("its object", {"id": "conv_1"}),
    ),
    unsupported(
        "context_management", "not supported yet", ("compaction", [{"type": "compaction", "compact_threshold": 1000}])
    ),
    unsupported("moderation", "not supported", ("a model", {"model": "omni-moderation-latest"})),
    *(
        Parameter(
            name,
            "any value",
            "a parameter of another vendor's server; ignored",
            (Good(value, UNSAID),),
            (),
            (_IGNORED_TEST,),
        )
        for name, value in {
            "access_programs": {"cyber": "standard"},
            "image": {"context_compression": "auto"},
            "client_metadata": {"a": 1},
        }.items()
    ),
)
