"""Static checks of the repository that no library offers: measures of the code with limits, and rules for commits."""
