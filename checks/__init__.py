"""Static checks of the repository that no library offers: code metrics with limits, and rules for commit messages."""
