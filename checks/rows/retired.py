"""Names that are no longer used for identifiers, and those in use instead."""

# Retired where one of the words of an identifier is this one.
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

# Retired where several words of an identifier follow each other so.
PHRASES = {
    ("let", "go"): "release",
    ("so", "far"): "the noun: prefix, partial_output",
}

# Retired as a whole identifier.
IDENTIFIERS = {
    "Answer": "OutputWriter",
    "Place": "WaitSlot, PartPath",
    "Grant": "Reservation",
    "of": "log_fields",
}
