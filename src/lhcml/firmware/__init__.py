"""Firmware: from a trained model to gates, without a vendor tool."""
