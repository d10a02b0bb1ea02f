//! `doctor` as people run it.
