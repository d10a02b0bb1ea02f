//! The catalog: which files exist in which layer, and which are published. Read, and corrected.
