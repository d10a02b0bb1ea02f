//! Reads the command line, calls the program, turns an error into an exit code; nothing else.

fn main() {}
