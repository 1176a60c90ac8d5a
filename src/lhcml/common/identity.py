"""Columns that tell which event, or which jet of it, a row is."""

EVENT_IDENTITY = ("run", "luminosityBlock", "event")
JET_IDENTITY = (*EVENT_IDENTITY, "jet_rank")
