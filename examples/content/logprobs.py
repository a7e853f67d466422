"""Print the probability of each output token and of its most likely alternatives."""

import math

from examples.connection import MODEL, connect

client = connect()

response = client.responses.create(
    model=MODEL,
    input="Is the sea wet? Answer with one word.",
    include=["message.output_text.logprobs"],
    top_logprobs=3,
    temperature=0,
    max_output_tokens=16,
)
(message,) = [item for item in response.output if item.type == "message"]
(part,) = [part for part in message.content if part.type == "output_text"]
assert part.logprobs, "the model server sent no log probabilities"
for token in part.logprobs:
    alternatives = ", ".join(
        f"{alternative.token!r} {math.exp(alternative.logprob):.0%}" for alternative in token.top_logprobs
    )
    print(f"{token.token!r:<12} {math.exp(token.logprob):>4.0%}   alternatives: {alternatives}")
assert part.text.startswith("".join(token.token for token in part.logprobs[:1]))
assert all(len(token.top_logprobs) <= 3 for token in part.logprobs)
assert all(token.logprob <= 0 for token in part.logprobs)
assert response.top_logprobs == 3
