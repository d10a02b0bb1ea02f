//! The lake: the files of a dataset-day, listed and read whole through `object_store`.
