"""Static checks of the repository that no library offers: code metrics with limits, rules for commit messages, pins."""
