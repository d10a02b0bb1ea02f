//! What people type: the commands, their output and their exit codes.
