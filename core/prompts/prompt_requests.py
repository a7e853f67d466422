"""Request bodies of `/v1/prompts`: templates, and the request parameters that they can set."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, Tag

from core.wire.base import NUL_FREE_PATTERN, Closed, Text, text_or_list_discriminator
from core.wire.parts import Parts
from core.wire.request import (
    MaxOutputTokens,
    ModelName,
    Reasoning,
    Temperature,
    TextConfig,
    Tools,
    TopP,
    VariableValue,
    Version,
    limit_variables,
)
from core.wire.tools import ToolChoice

MESSAGES_LIMIT = 1_000
# The parameters of `POST /v1/responses` that a template can set. A value in the request takes precedence.
DEFAULTS = (
    "model",
    "instructions",
    "tools",
    "tool_choice",
    "text",
    "reasoning",
    "temperature",
    "top_p",
    "max_output_tokens",
)

PromptName = Annotated[str, Field(min_length=1, max_length=128, pattern=NUL_FREE_PATTERN)]
Description = Annotated[str, Field(max_length=2_000, pattern=NUL_FREE_PATTERN)]


class Variable(Closed):
    """A variable to which placeholders refer. Without `default`, every request must set its value."""

    type: Literal["text", "image", "file"] = "text"
    default: VariableValue | None = None
    description: Annotated[str, Field(max_length=2_000)] | None = None


class TemplateMessage(Closed):
    """A message. Its texts may contain placeholders, and `type` may be omitted."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Annotated[Annotated[Text, Tag("<text>")] | Annotated[Parts, Tag("<list>")], text_or_list_discriminator()]
    phase: Literal["commentary", "final_answer"] | None = None


class Template(Closed):
    """The texts that a prompt adds to a request, with placeholders such as `{{name}}`, and default parameters."""

    instructions: Text | None = None
    input: (
        Annotated[
            Annotated[Text, Tag("<text>")]
            | Annotated[
                list[TemplateMessage], Field(min_length=1, max_length=MESSAGES_LIMIT, fail_fast=True), Tag("<list>")
            ],
            text_or_list_discriminator(),
        ]
        | None
    ) = None
    variables: Annotated[dict[str, Variable], BeforeValidator(limit_variables)] = Field(default_factory=dict)
    model: ModelName | None = None
    tools: Tools | None = None
    tool_choice: ToolChoice | None = None
    text: TextConfig | None = None
    reasoning: Reasoning | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_output_tokens: MaxOutputTokens | None = None


class CreatePrompt(Closed):
    """A prompt and its first version."""

    name: PromptName
    description: Description | None = None
    template: Template


class CreatePromptVersion(Closed):
    """A new version of a prompt."""

    template: Template
    make_default: bool = False


class UpdatePrompt(Closed):
    """Changes to a prompt. Existing versions cannot be changed."""

    name: PromptName | None = None
    description: Description | None = None
    default_version: Version | None = None
