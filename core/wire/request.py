"""The parameters of `POST /v1/responses`: types, limits and defaults."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from core.jsonio import JsonObject
from core.wire.base import NUL_FREE_PATTERN, Open, Strict, Text, read_type, tag, text_or_list_discriminator
from core.wire.items import InputItem
from core.wire.parts import Part
from core.wire.tools import Tool, ToolChoice

METADATA_LIMIT = 16  # pairs
VARIABLES_LIMIT = 64  # per prompt
VARIABLE_NAME = r"[A-Za-z0-9_-]{1,64}"

# API parameters that are not supported. They are rejected by name, because silently ignoring one would produce a
# response to a different request.
UNSUPPORTED_PARAMETERS = frozenset({"context_management", "conversation", "moderation"})
# Values of `include`. The values for hosted tools have no effect, because no hosted tool runs here.
Include = Literal[
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
    "web_search_call.results",
]


def _limit_metadata(value: Any) -> Any:
    # Runs before the pairs are validated: the errors of a million invalid pairs would take gigabytes of memory.
    if isinstance(value, dict) and len(value) > METADATA_LIMIT:
        raise PydanticCustomError("too_many_pairs", "", {"max_length": METADATA_LIMIT, "actual_length": len(value)})
    return value


def limit_variables(value: Any) -> Any:
    """Check the number and the names of prompt variables, before their values are validated."""
    if isinstance(value, dict) and len(value) > VARIABLES_LIMIT:
        raise PydanticCustomError("too_many_pairs", "", {"max_length": VARIABLES_LIMIT, "actual_length": len(value)})
    if isinstance(value, dict) and not all(re.fullmatch(VARIABLE_NAME, name) for name in value):
        raise PydanticCustomError("variable_name", "")
    return value


def _convert_version(value: Any) -> Any:
    return str(value) if type(value) is int else value


# The value of a prompt variable: a string or a message part.
VariableValue = Annotated[
    Annotated[Text, Tag(tag("text"))] | Annotated[Part, Tag(tag("part"))],
    Discriminator(lambda value: tag("part") if isinstance(value, dict | BaseModel) else tag("text")),
]
# A prompt's version number. In the wire format it is a string; an integer is accepted as well.
Version = Annotated[
    str,
    Field(max_length=64),
    BeforeValidator(_convert_version),
    WithJsonSchema({"anyOf": [{"type": "string", "maxLength": 64}, {"type": "integer"}]}),
]


class PromptReference(Strict):
    """A reference to a stored prompt, with values of its variables; without `version`, to the default version."""

    id: Annotated[str, Field(max_length=256)]
    version: Version | None = None
    variables: Annotated[dict[str, VariableValue], BeforeValidator(limit_variables)] = Field(default_factory=dict)


Summary = Literal["auto", "concise", "detailed"]


class Reasoning(Open):
    """How much effort the model should spend on reasoning, and whether it should summarize its reasoning."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Summary | None = None
    generate_summary: Annotated[Summary | None, Field(description="The former name of `summary`.")] = None

    @property
    def requested_summary(self) -> Summary | None:
        """The value of `summary`, or of its former name."""
        return self.summary or self.generate_summary


class PlainFormat(Strict):
    type: Literal["text"]


class ObjectFormat(Strict):
    type: Literal["json_object"]


class SchemaFormat(Strict):
    type: Literal["json_schema"]
    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
    schema_: Annotated[JsonObject, Field(alias="schema")]
    strict: bool = False
    description: str | None = None


def _format_branch(value: Any) -> str:
    return tag(str(read_type(value, "text")))


Format = Annotated[
    Annotated[PlainFormat, Tag(tag("text"))]
    | Annotated[ObjectFormat, Tag(tag("json_object"))]
    | Annotated[SchemaFormat, Tag(tag("json_schema"))],
    Discriminator(
        _format_branch,
        custom_error_type="unknown_format",
        custom_error_message="'text', 'json_object' or 'json_schema'",
    ),
]


class TextConfig(Strict):
    """The format of the output text: plain text, JSON, or JSON that conforms to a schema."""

    format: Format = PlainFormat(type="text")
    verbosity: Literal["low", "medium", "high"] = "medium"


class StreamOptions(Strict):
    include_obfuscation: bool | None = None


class BackgroundOptions(Strict):
    completion_window: Literal["soonest", "2h", "8h"] = "soonest"
    continuation_id: Annotated[str, Field(max_length=256)] | None = None


class PromptCacheOptions(Strict):
    """Options of prompt caching. They are only echoed, because the model server decides what it caches."""

    mode: Literal["implicit", "explicit"] = "implicit"
    ttl: Literal["30m", "12h"] = "30m"
    prewarm: bool = False
    comparison_response_id: Annotated[str, Field(max_length=256)] | None = None


# Types of parameters that a stored prompt can set as well.
ModelName = Annotated[str, Field(max_length=256)]
MaxOutputTokens = Annotated[int, Field(ge=16, le=2**31 - 1)]
Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
TopP = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Tools = Annotated[list[Tool], Field(max_length=128, fail_fast=True)]


class CreateResponse(Strict):
    """A request for a response. Unknown fields are ignored, or rejected by a server with `BACKBURNER_STRICT_PARAMS=1`.

    Source: `CreateResponse` of openai-openapi; the limit of `safety_identifier` is that of the newer `openai` package.
    """

    model: ModelName | None = None  # may come from the prompt; core.wire.rules checks that it is set
    input: (
        Annotated[
            Annotated[Text, Tag("<text>")]
            | Annotated[list[InputItem], Field(min_length=1, max_length=10_000, fail_fast=True), Tag("<list>")],
            text_or_list_discriminator(),
        ]
        | None
    ) = None
    instructions: Text | None = None
    prompt: PromptReference | None = None
    previous_response_id: Annotated[str, Field(max_length=256)] | None = None
    background: bool = False
    background_options: BackgroundOptions | None = None
    store: bool = True
    stream: bool = False
    stream_options: StreamOptions | None = None
    include: Annotated[list[Include], Field(max_length=20, fail_fast=True)] = Field(default_factory=list)
    max_output_tokens: MaxOutputTokens | None = None
    max_tool_calls: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    temperature: Temperature = 1
    top_p: TopP = 1
    top_logprobs: Annotated[int, Field(ge=0, le=20)] = 0
    presence_penalty: Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)] = 0
    frequency_penalty: Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)] = 0
    tools: Tools = Field(default_factory=list)
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool = True
    reasoning: Reasoning | None = None
    text: TextConfig = Field(default_factory=TextConfig)
    truncation: Literal["auto", "disabled"] = "disabled"
    metadata: Annotated[
        dict[
            Annotated[str, Field(max_length=64, pattern=NUL_FREE_PATTERN)],
            Annotated[str, Field(max_length=512, pattern=NUL_FREE_PATTERN)],
        ],
        BeforeValidator(_limit_metadata),
    ] = Field(default_factory=dict)
    service_tier: Literal["auto", "default", "flex", "no-limit", "priority", "scale", "fast", "ultrafast"] | None = None
    safety_identifier: Annotated[str, Field(max_length=128)] | None = None
    prompt_cache_key: Annotated[str, Field(max_length=64)] | None = None
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None
    prompt_cache_options: PromptCacheOptions | None = None
    user: Annotated[str, Field(max_length=512)] | None = None

    @property
    def includes_logprobs(self) -> bool:
        """Whether the output text should include the log probabilities of its tokens."""
        return self.top_logprobs > 0 or "message.output_text.logprobs" in self.include

    @property
    def includes_sealed_reasoning(self) -> bool:
        """Whether reasoning items should include `encrypted_content`."""
        return "reasoning.encrypted_content" in self.include
