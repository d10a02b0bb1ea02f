//! The login of a request: used for every write, and for reads only if `socrata.read_as` says so.

use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};

use super::failure::PortalError;
use crate::settings::SocrataSettings;

/// A user and a password.
#[derive(Clone)]
pub(super) struct Login {
    user: String,
    password: SecretString,
}

impl Login {
    /// The login in the settings.
    ///
    /// # Errors
    /// The result of `missing` for the key that is not set.
    pub(super) fn of(
        settings: &SocrataSettings,
        missing: fn(&'static str) -> PortalError,
    ) -> Result<Self, PortalError> {
        let user = settings.username.clone().filter(|user| !user.is_empty());
        let password = settings.password.clone();
        Ok(Self {
            user: user.ok_or_else(|| missing("socrata.username"))?,
            password: password.ok_or_else(|| missing("socrata.password"))?,
        })
    }

    /// Adds the login to the request's headers.
    pub(super) fn put_on(&self, request: RequestBuilder) -> RequestBuilder {
        request.basic_auth(&self.user, Some(self.password.expose_secret()))
    }
}
