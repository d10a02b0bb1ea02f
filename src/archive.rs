//! Every row before it is purged, and the way back.
