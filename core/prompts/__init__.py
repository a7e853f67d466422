"""Stored prompts: templates with variables and versions."""
