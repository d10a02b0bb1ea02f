//! The writers: carries a plan out, in the one safe order.
