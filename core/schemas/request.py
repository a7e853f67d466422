"""What `POST /v1/responses` takes: types, bounds and defaults."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

TEXT_LIMIT = 10_485_760  # characters, of any one text

# Parameters of the API that are not served yet. Unless they say what is done anyway, they are refused by
# name: silently ignoring one would answer a question nobody asked.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "background_options": (),
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
    "prompt_cache_retention": (),
    "reasoning": (),
    "safety_identifier": (),
    "stream": (False,),
    "stream_options": (),
    "text": ({"format": {"type": "text"}},),
    "tool_choice": ("auto", "none"),
    "tools": ([],),
    "top_logprobs": (0,),
    "truncation": ("disabled",),
    "user": (),
}

Text = Annotated[str, Field(max_length=TEXT_LIMIT)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class TextPart(_Strict):
    """One piece of text of a message; `output_text` where an assistant is quoted."""

    type: Literal["input_text", "output_text"]
    text: Text


class Message(_Strict):
    """A message of the conversation so far; `type` may be left out."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Annotated[
        Annotated[Text, Tag("text")] | Annotated[list[TextPart], Tag("parts")],
        Discriminator(lambda value: "text" if isinstance(value, str) else "parts"),
    ]


class CreateResponse(_Strict):
    """A request for a response; fields it does not name are ignored.

    Source: openai-openapi CreateResponse; bounds as in its reference.
    """

    model: str
    input: Annotated[
        Annotated[Text, Tag("text")] | Annotated[list[Message], Field(min_length=1), Tag("items")],
        Discriminator(lambda value: "text" if isinstance(value, str) else "items"),
    ]
    instructions: Text | None = None
    background: bool = False
    store: bool = True
    max_output_tokens: Annotated[int, Field(ge=16)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = 1
    top_p: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 1
    metadata: Annotated[
        dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
        Field(max_length=16),
    ] = Field(default_factory=dict)
    service_tier: Literal["auto", "default", "flex", "no-limit", "priority", "scale", "fast", "ultrafast"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _null_means_left_out(cls, body: Any) -> Any:
        return {key: value for key, value in body.items() if value is not None} if isinstance(body, dict) else body
