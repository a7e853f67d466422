"""Retired words, which identifiers must not contain, and the words to use instead."""

# Words that no identifier may contain.
WORDS = {
    "ring": "enqueue, dispatch",
    "rings": "celery_message",
    "rung": "dispatched",
    "unring": "recall",
    "together": "Batcher, AsyncBatcher",
    "hub": "Broadcaster",
    "follower": "Subscription",
    "pulse": "EventFlusher, LeaseKeeper",
    "presence": "registration",
    "hearing": "consumer_probe",
    "deaf": "stalled",
    "vitals": "watchdog",
    "ill": "unhealthy",
    "ills": "problems",
    "asking": "ModelClient",
    "seam": "Splice",
    "fitting": "ContextTrimmer",
    "backlogs": "QueueDepth",
    "wish": "TierRequest",
    "spills": "may_overflow",
    "turns": "fair_share",
    "room": "capacity",
    "away": "unavailable",
    "abandon": "cancel_orphan",
    "kept": "retention, stored",
    "held": "leased, reserved",
    "said": "the noun: text, message, length",
    "whole": "the noun: document, total",
}

# Words that no identifier may contain in this order.
PHRASES = {
    ("let", "go"): "release",
    ("so", "far"): "the noun: prefix, partial_output",
}

# Identifiers that may not be used; longer identifiers may contain these words.
IDENTIFIERS = {
    "Answer": "OutputWriter",
    "Place": "WaitSlot, PartPath",
    "Grant": "Reservation",
    "of": "log_fields",
}

# Exceptions: a parameter of the API, and settings of operators.
ALLOWED = frozenset({"presence_penalty", "deaf_after_s", "events_kept_s", "whole_timeout_s"})
# Exceptions in one file: the path of the file, and the identifier.
ALLOWED_IN_FILE = frozenset({("app/http.py", "Answer")})
