"""The description of the response object."""

from openresponses_types.types import ResponseResource

from core.config.tiers import Tier
from core.wire import response
from core.wire.request import CreateResponse


def test_the_described_object_has_the_keys_of_the_api_reference() -> None:
    assert set(response.KEYS) == {*ResponseResource.model_fields, "prompt_cache_retention", "user"}


def test_a_new_object_conforms_to_the_description() -> None:
    request = CreateResponse.model_validate({"model": "m", "input": "hi", "metadata": {"a": "b"}})

    document = response.new_document("resp_1", request, Tier.DEFAULT, 1)

    assert tuple(document) == response.KEYS
    response.Response.model_validate(document, strict=False)
