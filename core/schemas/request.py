"""What `POST /v1/responses` takes: types, bounds and defaults."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

TEXT_LIMIT = 10_485_760  # characters, of any one text
METADATA_LIMIT = 16  # pairs

# Parameters of the API that are not served yet. Unless they say what is done anyway, they are refused by
# name: silently ignoring one would answer a question nobody asked.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "background_options": ({}, {"completion_window": "soonest"}),
    "context_management": (),
    "conversation": (),
    "frequency_penalty": (0,),
    "include": ([],),
    "max_tool_calls": (),
    "moderation": (),
    "parallel_tool_calls": (True,),
    "presence_penalty": (0,),
    "previous_response_id": (),
    "prompt": (),
    "prompt_cache_key": (),
    "prompt_cache_options": (),
    "prompt_cache_retention": (),
    "reasoning": ({},),
    "safety_identifier": (),
    "stream": (False,),
    "stream_options": (),
    "text": (
        {},
        {"format": {"type": "text"}},
        {"verbosity": "medium"},
        {"format": {"type": "text"}, "verbosity": "medium"},
    ),
    "tool_choice": ("auto", "none"),
    "tools": ([],),
    "top_logprobs": (0,),
    "truncation": ("disabled",),
    "user": (),
}

Text = Annotated[str, Field(max_length=TEXT_LIMIT)]

# In pydantic's paths of errors these name the branch of a union; no field is called so.
TAGS = frozenset({"<text>", "<list>"})


def _branch(value: Any) -> str:
    return "<text>" if isinstance(value, str) else "<list>"


def _few(value: Any) -> Any:
    # Before its pairs are looked at: an error for each of a million would take gigabytes.
    if isinstance(value, dict) and len(value) > METADATA_LIMIT:
        raise PydanticCustomError("too_many_pairs", "", {"max_length": METADATA_LIMIT, "actual_length": len(value)})
    return value


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _null_means_left_out(cls, body: Any) -> Any:
        return {key: value for key, value in body.items() if value is not None} if isinstance(body, dict) else body


class TextPart(_Strict):
    """One piece of text of a message; `output_text` where an assistant is quoted."""

    type: Literal["input_text", "output_text"]
    text: Text


class Message(_Strict):
    """A message of the conversation so far; `type` may be left out."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Annotated[
        Annotated[Text, Tag("<text>")] | Annotated[list[TextPart], Field(fail_fast=True), Tag("<list>")],
        Discriminator(_branch),
    ]


class CreateResponse(_Strict):
    """A request for a response; fields it does not name are ignored.

    Source: openai-openapi CreateResponse; bounds as in its reference.
    """

    model: Annotated[str, Field(max_length=256)]
    input: Annotated[
        Annotated[Text, Tag("<text>")] | Annotated[list[Message], Field(min_length=1, fail_fast=True), Tag("<list>")],
        Discriminator(_branch),
    ]
    instructions: Text | None = None
    background: bool = False
    store: bool = True
    max_output_tokens: Annotated[int, Field(ge=16, le=2**31 - 1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = 1
    top_p: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 1
    metadata: Annotated[
        dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
        BeforeValidator(_few),
    ] = Field(default_factory=dict)
    service_tier: Literal["auto", "default", "flex", "no-limit", "priority", "scale", "fast", "ultrafast"] | None = None
