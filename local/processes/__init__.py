"""Child processes of a stack: started, restarted, stopped."""
