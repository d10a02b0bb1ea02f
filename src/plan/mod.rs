//! Findings to plan: draft, guards, and the one door between them. Pure.
