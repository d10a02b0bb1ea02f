//! A made-up city: lake days of all three kinds of sensors with every quirk of the real ones, the publisher that uploads them, and the ways in which published days break.
