"""The scripted model server's replies in the format of the Responses API."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from tests.model_server.script import logprobs_of, words_of
from tests.model_server.server import Answer, event

INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter", "abort": "abort"}
Events = Iterator[dict[str, Any]]


class NativeAnswer(Answer):
    """One request in progress; its tokens and faults come as those of a chat completion do."""

    async def whole(self) -> web.Response:
        await asyncio.sleep(self.script.first_delay_s)
        self.record.tokens_sent = len(self.chunks)
        self.stats.end(self.record, "finished")
        return web.json_response(self.document([item for item, _ in self.items()]))

    async def stream(self) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(self.request)
        await self.say(response, {"type": "response.created", "response": {"status": "in_progress"}})
        await asyncio.sleep(self.script.first_delay_s)
        output: list[dict[str, Any]] = []
        for item, deltas in self.items():
            place = {"output_index": len(output), "item_id": item["id"]}
            await self.say(response, {"type": "response.output_item.added", **place, "item": {"type": item["type"]}})
            for delta in deltas:
                if delta["type"] == "response.output_text.delta":
                    await self.fault_at(self.record.tokens_sent, response)
                    self.record.tokens_sent += 1
                    await asyncio.sleep(self.script.delay_s)
                await self.say(response, delta | place)
            output.append(item)
            await self.say(response, {"type": "response.output_item.done", **place, "item": item})
        await self.fault_at(self.record.tokens_sent, response, last=True)
        final = self.document(output)
        self.stats.end(self.record, "finished")
        if self.finish:
            await self.say(response, {"type": f"response.{final['status']}", "response": final})
        return response

    async def say(self, response: web.StreamResponse, payload: dict[str, Any]) -> None:
        await response.write(f"event: {payload['type']}\n".encode() + event(payload))

    def document(self, output: list[dict[str, Any]]) -> dict[str, Any]:
        reason = INCOMPLETE.get(self.finish or "")
        return {
            "id": self.id,
            "object": "response",
            "status": "incomplete" if reason else "completed",
            "incomplete_details": {"reason": reason} if reason else None,
            "model": self.model,
            "output": output,
            "usage": self.usage("input_tokens", "output_tokens") if self.script.usage is not False else None,
        }

    def items(self) -> Iterator[tuple[dict[str, Any], Events]]:
        """The complete items of the output, each with the events that build it."""
        script = self.script
        if script.reasoning or script.summary or script.encrypted:
            yield self.thought()
        texts = [chunk for chunk in self.chunks if isinstance(chunk, str)]
        if texts or script.refusal:
            yield self.message(texts)
        for call in script.tool_calls:
            yield self.call(call), iter(())

    def thought(self) -> tuple[dict[str, Any], Events]:
        script = self.script
        item = {
            "type": "reasoning",
            "id": "rs_theirs",
            "summary": [{"type": "summary_text", "text": text} for text in script.summary],
            "content": [{"type": "reasoning_text", "text": script.reasoning}] if script.reasoning else [],
            "encrypted_content": script.encrypted,
        }

        def deltas() -> Events:
            for index, text in enumerate(script.summary):
                place = {"summary_index": index}
                for word in words_of(text):
                    yield {"type": "response.reasoning_summary_text.delta", **place, "delta": word}
                yield {"type": "response.reasoning_summary_part.done", **place}
            for word in words_of(script.reasoning):
                yield {"type": "response.reasoning_text.delta", "content_index": 0, "delta": word}

        return item, deltas()

    def message(self, texts: list[str]) -> tuple[dict[str, Any], Events]:
        script = self.script
        content: list[dict[str, Any]] = []
        if texts:
            logprobs = [one for text in texts for one in logprobs_of(text)] if script.logprobs else []
            notes = list(script.annotations)
            content.append({"type": "output_text", "text": "".join(texts), "annotations": notes, "logprobs": logprobs})
        if script.refusal:
            content.append({"type": "refusal", "refusal": script.refusal})

        def deltas() -> Events:
            place = {"content_index": 0}
            for text in texts:
                logprobs = logprobs_of(text) if script.logprobs else []
                yield {"type": "response.output_text.delta", **place, "delta": text, "logprobs": logprobs}
            for note in script.annotations:
                yield {"type": "response.output_text.annotation.added", **place, "annotation": note}
            if texts:
                yield {"type": "response.content_part.done", **place}
            for word in words_of(script.refusal):
                yield {"type": "response.refusal.delta", "content_index": len(content) - 1, "delta": word}

        return {"type": "message", "id": "msg_theirs", "role": "assistant", "content": content}, deltas()

    def call(self, call: dict[str, str]) -> dict[str, Any]:
        common = {"id": "fc_theirs", "call_id": call.get("id", f"call_{self.id}"), "name": call["name"]}
        if {"type": "custom", "name": call["name"]} in [
            {"type": tool.get("type"), "name": tool.get("name")} for tool in self.tools
        ]:
            return {"type": "custom_tool_call", **common, "input": json.loads(call["arguments"])["input"]}
        return {"type": "function_call", **common, "arguments": call["arguments"]}
