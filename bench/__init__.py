"""How close each path is to what this machine can do: floors and paths measured side by side, as ratios."""
