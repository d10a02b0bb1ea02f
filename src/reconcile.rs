//! The world, and one pass through it, top to bottom.
