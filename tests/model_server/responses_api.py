"""Replies of the scripted model server in the format of the Responses API."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from tests.model_server.script import build_logprobs, split_words
from tests.model_server.server import ChatReply, build_sse_event

INCOMPLETE_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter", "abort": "abort"}
# The events that build an item of the output, without its ID and its index.
Events = Iterator[dict[str, Any]]


class ResponsesReply(ChatReply):
    """A reply in the Responses API; tokens and faults have the same schedule as in a chat completion."""

    async def reply_with_document(self) -> web.Response:
        await asyncio.sleep(self.script.first_delay_s)
        self.record.tokens_sent = len(self.chunks)
        self.stats.end_request(self.record, "finished")
        return web.json_response(self.build_document([item for item, _ in self.build_items()]))

    async def reply_with_stream(self) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(self.request)
        await self.send_event(response, {"type": "response.created", "response": {"status": "in_progress"}})
        await asyncio.sleep(self.script.first_delay_s)
        output: list[dict[str, Any]] = []
        for item, deltas in self.build_items():
            location = {"output_index": len(output), "item_id": item["id"]}
            await self.send_event(
                response, {"type": "response.output_item.added", **location, "item": {"type": item["type"]}}
            )
            for delta in deltas:
                if delta["type"] == "response.output_text.delta":
                    await self.play_fault(self.record.tokens_sent, response)
                    self.record.tokens_sent += 1
                    await asyncio.sleep(self.script.delay_s)
                await self.send_event(response, delta | location)
            output.append(item)
            await self.send_event(response, {"type": "response.output_item.done", **location, "item": item})
        await self.play_fault(self.record.tokens_sent, response, all_sent=True)
        final_response = self.build_document(output)
        self.stats.end_request(self.record, "finished")
        if self.finish:
            await self.send_event(
                response, {"type": f"response.{final_response['status']}", "response": final_response}
            )
        return response

    async def send_event(self, response: web.StreamResponse, payload: dict[str, Any]) -> None:
        await response.write(f"event: {payload['type']}\n".encode() + build_sse_event(payload))

    def build_document(self, output: list[dict[str, Any]]) -> dict[str, Any]:
        reason = INCOMPLETE_REASONS.get(self.finish or "")
        return {
            "id": self.id,
            "object": "response",
            "status": "incomplete" if reason else "completed",
            "incomplete_details": {"reason": reason} if reason else None,
            "model": self.model,
            "output": output,
            "usage": self.build_usage("input_tokens", "output_tokens") if self.script.usage is not False else None,
        }

    def build_items(self) -> Iterator[tuple[dict[str, Any], Events]]:
        """Yield the complete items of the output, each with the events that build it."""
        script = self.script
        if script.reasoning or script.summary or script.encrypted:
            yield self.build_reasoning_item()
        texts = [chunk for chunk in self.chunks if isinstance(chunk, str)]
        if texts or script.refusal:
            yield self.build_message_item(texts)
        for call in script.tool_calls:
            yield self.build_call_item(call), iter(())

    def build_reasoning_item(self) -> tuple[dict[str, Any], Events]:
        script = self.script
        item = {
            "type": "reasoning",
            "id": "rs_upstream",
            "summary": [{"type": "summary_text", "text": text} for text in script.summary],
            "content": [{"type": "reasoning_text", "text": script.reasoning}] if script.reasoning else [],
            "encrypted_content": script.encrypted,
        }

        def deltas() -> Events:
            for index, text in enumerate(script.summary):
                location = {"summary_index": index}
                for word in split_words(text):
                    yield {"type": "response.reasoning_summary_text.delta", **location, "delta": word}
                yield {"type": "response.reasoning_summary_part.done", **location}
            for word in split_words(script.reasoning):
                yield {"type": "response.reasoning_text.delta", "content_index": 0, "delta": word}

        return item, deltas()

    def build_message_item(self, texts: list[str]) -> tuple[dict[str, Any], Events]:
        script = self.script
        content: list[dict[str, Any]] = []
        if texts:
            logprobs = [logprob for text in texts for logprob in build_logprobs(text)] if script.logprobs else []
            annotations = list(script.annotations)
            content.append(
                {"type": "output_text", "text": "".join(texts), "annotations": annotations, "logprobs": logprobs}
            )
        if script.refusal:
            content.append({"type": "refusal", "refusal": script.refusal})

        def deltas() -> Events:
            location = {"content_index": 0}
            for text in texts:
                logprobs = build_logprobs(text) if script.logprobs else []
                yield {"type": "response.output_text.delta", **location, "delta": text, "logprobs": logprobs}
            for annotation in script.annotations:
                yield {"type": "response.output_text.annotation.added", **location, "annotation": annotation}
            if texts:
                yield {"type": "response.content_part.done", **location}
            for word in split_words(script.refusal):
                yield {"type": "response.refusal.delta", "content_index": len(content) - 1, "delta": word}

        return {"type": "message", "id": "msg_upstream", "role": "assistant", "content": content}, deltas()

    def build_call_item(self, call: dict[str, str]) -> dict[str, Any]:
        common = {"id": "fc_upstream", "call_id": call.get("id", f"call_{self.id}"), "name": call["name"]}
        is_custom = any(tool.get("type") == "custom" and tool.get("name") == call["name"] for tool in self.tools)
        if is_custom:
            return {"type": "custom_tool_call", **common, "input": json.loads(call["arguments"])["input"]}
        return {"type": "function_call", **common, "arguments": call["arguments"]}
