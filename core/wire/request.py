"""What `POST /v1/responses` takes: types, bounds and defaults."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from core.wire.base import NO_NUL, Open, Strict, Text, kind_of, tag, text_or_list
from core.wire.items import InputItem
from core.wire.parts import Part
from core.wire.tools import Tool, ToolChoice

METADATA_LIMIT = 16  # pairs
VARIABLES_LIMIT = 64  # of one prompt
VARIABLE_NAME = r"[A-Za-z0-9_-]{1,64}"

# Parameters of the API that are not served: refused by name, because silently ignoring one would answer a question
# nobody asked.
UNSUPPORTED = frozenset({"context_management", "conversation", "moderation"})
# What `include` may ask for; of tools that are not run here there is nothing to include.
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


def _few(value: Any) -> Any:
    # Before its pairs are looked at: an error for each of a million would take gigabytes.
    if isinstance(value, dict) and len(value) > METADATA_LIMIT:
        raise PydanticCustomError("too_many_pairs", "", {"max_length": METADATA_LIMIT, "actual_length": len(value)})
    return value


def few_and_named(value: Any) -> Any:
    """Variables by their names, before any of them is looked at."""
    if isinstance(value, dict) and len(value) > VARIABLES_LIMIT:
        raise PydanticCustomError("too_many_pairs", "", {"max_length": VARIABLES_LIMIT, "actual_length": len(value)})
    if isinstance(value, dict) and not all(re.fullmatch(VARIABLE_NAME, name) for name in value):
        raise PydanticCustomError("variable_name", "")
    return value


def _version(value: Any) -> Any:
    return str(value) if type(value) is int else value


# What a variable of a prompt may stand for: a text, or a part of a message.
VariableValue = Annotated[
    Annotated[Text, Tag(tag("word"))] | Annotated[Part, Tag(tag("part"))],
    Discriminator(lambda value: tag("word") if not isinstance(value, dict | BaseModel) else tag("part")),
]
# The number of a version, as the wire has it: a text; a number is understood.
Version = Annotated[
    str,
    Field(max_length=64),
    BeforeValidator(_version),
    WithJsonSchema({"anyOf": [{"type": "string", "maxLength": 64}, {"type": "integer"}]}),
]


class PromptReference(Strict):
    """A stored prompt, and what its variables stand for this time; without `version`, its default version."""

    id: Annotated[str, Field(max_length=256)]
    version: Version | None = None
    variables: Annotated[dict[str, VariableValue], BeforeValidator(few_and_named)] = Field(default_factory=dict)


Summary = Literal["auto", "concise", "detailed"]


class Reasoning(Open):
    """How hard the model should think, and whether it should sum up its thoughts."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Summary | None = None
    generate_summary: Annotated[Summary | None, Field(description="The older name of `summary`.")] = None

    @property
    def wanted_summary(self) -> Summary | None:
        """The summary asked for, by its new or its old name."""
        return self.summary or self.generate_summary


class PlainFormat(Strict):
    type: Literal["text"]


class ObjectFormat(Strict):
    type: Literal["json_object"]


class SchemaFormat(Strict):
    type: Literal["json_schema"]
    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool = False
    description: str | None = None


def _format(value: Any) -> str:
    return tag(str(kind_of(value, "text")))


Format = Annotated[
    Annotated[PlainFormat, Tag(tag("text"))]
    | Annotated[ObjectFormat, Tag(tag("json_object"))]
    | Annotated[SchemaFormat, Tag(tag("json_schema"))],
    Discriminator(
        _format,
        custom_error_type="unknown_format",
        custom_error_message="'text', 'json_object' or 'json_schema'",
    ),
]


class TextConfig(Strict):
    """The shape of the text: free, JSON, or JSON by a schema."""

    format: Format = PlainFormat(type="text")
    verbosity: Literal["low", "medium", "high"] = "medium"


class StreamOptions(Strict):
    include_obfuscation: bool | None = None


class BackgroundOptions(Strict):
    completion_window: Literal["soonest", "2h", "8h"] = "soonest"
    continuation_id: Annotated[str, Field(max_length=256)] | None = None


class PromptCacheOptions(Strict):
    """How a prompt should be cached; echoed, as caching is the model server's."""

    mode: Literal["implicit", "explicit"] = "implicit"
    ttl: Literal["30m", "12h"] = "30m"
    prewarm: bool = False
    comparison_response_id: Annotated[str, Field(max_length=256)] | None = None


# Parameters that a prompt may have, too.
ModelName = Annotated[str, Field(max_length=256)]
MaxOutputTokens = Annotated[int, Field(ge=16, le=2**31 - 1)]
Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
TopP = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Tools = Annotated[list[Tool], Field(max_length=128, fail_fast=True)]


class CreateResponse(Strict):
    """A request for a response; fields it does not name are ignored.

    Source: openai-openapi CreateResponse; bounds as in its reference, `safety_identifier` as in the newer SDK.
    """

    model: ModelName | None = None  # or the prompt's; core.creation insists on one
    input: (
        Annotated[
            Annotated[Text, Tag("<text>")]
            | Annotated[list[InputItem], Field(min_length=1, max_length=10_000, fail_fast=True), Tag("<list>")],
            text_or_list(),
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
            Annotated[str, Field(max_length=64, pattern=NO_NUL)],
            Annotated[str, Field(max_length=512, pattern=NO_NUL)],
        ],
        BeforeValidator(_few),
    ] = Field(default_factory=dict)
    service_tier: Literal["auto", "default", "flex", "no-limit", "priority", "scale", "fast", "ultrafast"] | None = None
    safety_identifier: Annotated[str, Field(max_length=128)] | None = None
    prompt_cache_key: Annotated[str, Field(max_length=64)] | None = None
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None
    prompt_cache_options: PromptCacheOptions | None = None
    user: Annotated[str, Field(max_length=512)] | None = None

    @property
    def wants_logprobs(self) -> bool:
        """Whether the text's tokens are to come with their probabilities."""
        return self.top_logprobs > 0 or "message.output_text.logprobs" in self.include

    @property
    def wants_sealed_reasoning(self) -> bool:
        """Whether reasoning items are to carry `encrypted_content`."""
        return "reasoning.encrypted_content" in self.include
