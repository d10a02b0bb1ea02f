//! Where foreign text and foreign hosts get in, and where secrets could get out.

mod hostile;
mod redirects;
mod secrets;
mod tls;
