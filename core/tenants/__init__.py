"""Projects, API keys, rights, the audit log, and encryption of data that is bound to a project."""
