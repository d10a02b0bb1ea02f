//! Where foreign text and foreign hosts come in, and where secrets could get out.

mod hostile;
mod redirects;
mod secrets;
mod tls;
