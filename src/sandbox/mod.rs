//! The sandbox: a stand-in for a Socrata portal, and a generator of lake days. Nothing above knows it.
