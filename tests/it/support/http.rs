//! The tests' own HTTP client. It needs the TLS provider that the program installs.

/// A client that uses no proxy and follows no redirect.
pub fn client() -> reqwest::Client {
    let builder = sodalake::outgoing::client(sodalake::outgoing::Wire::Plain);
    builder.build().expect("the client is configured correctly")
}
