//! A stand-in for a Socrata portal: real HTTP, a SoQL subset, replicas that lag, faults on demand.
