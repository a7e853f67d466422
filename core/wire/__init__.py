"""OpenAI's wire format: requests, the response object, items and events. No I/O.

JSON objects in the wire format are plain dictionaries, because events are folded into items and parts by field
names from a table (`item_events.py`). The models in `items.py`, `parts.py` and `response.py` define and check their
fields.
"""

from core.jsonio import JsonObject

# A streamed event; `type` and `sequence_number` are its first fields.
Event = JsonObject
# An input or output item.
Item = JsonObject
# A part of the content or of the summary of an item.
Part = JsonObject
# A response object.
Document = JsonObject
