"""The chores of the sweeper, which recover lost responses and delete old data."""
