//! Expected, published and catalogued rows of one dataset-day, compared into findings. Pure.
