"""Firmware: from a trained model to gates, each step compared bit by bit, without a vendor tool."""
