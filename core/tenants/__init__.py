"""Projects, API keys, rights, the audit log, and the keys that seal data for a project."""
