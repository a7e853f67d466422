"""Parameters that are not supported, and parameters of other vendors' servers that are ignored."""

from tests.contract.rows import NOT_ECHOED, AcceptedValue, Parameter, unsupported_values

_UNSUPPORTED_TEST = "test_an_unsupported_parameter_is_rejected_by_name_unless_it_is_null"
_IGNORED_TEST = "test_a_parameter_of_other_vendors_is_ignored_in_strict_mode"


def null_parameter(name: str, effect: str, *values: tuple[str, object]) -> Parameter:
    """A parameter that must be null."""
    return Parameter(
        name, "null", effect, (AcceptedValue(None, NOT_ECHOED),), unsupported_values(*values), (_UNSUPPORTED_TEST,)
    )


PARAMETERS = (
    null_parameter(
        "conversation",
        "not supported yet: use `previous_response_id`",
        ("an ID", "conv_1"),
        ("an object with an ID", {"id": "conv_1"}),
    ),
    null_parameter(
        "context_management", "not supported yet", ("compaction", [{"type": "compaction", "compact_threshold": 1000}])
    ),
    null_parameter("moderation", "not supported", ("a model", {"model": "omni-moderation-latest"})),
    *(
        Parameter(
            name,
            "any value",
            "a parameter of another vendor's server; ignored",
            (AcceptedValue(value, NOT_ECHOED),),
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
