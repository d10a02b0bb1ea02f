//! What it means if a portal denies a request, and what a person can do about it.
//!
//! A private table answers a reader without a login with 403, whether or not an app token was sent.
//! A wrong login results in 401, a wrong app token in 403 even for public data, and some portals
//! answer requests without an app token with 403 if an address has sent too many (docs/safety.md,
//! rule 10).

use std::fmt;

use reqwest::StatusCode;

use super::failure::{ReadError, RequestError};
use super::portal::Answer;

/// Why a portal denied a request, as far as its answer and our credentials tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The table is private, and the request had no login.
    Private {
        /// Whether the request had the app token.
        with_token: bool,
    },
    /// The portal requires an app token, and the request had none.
    NoToken,
    /// The portal does not accept the app token.
    WrongToken,
    /// The portal does not accept the login.
    WrongLogin,
    /// The login is accepted, but lacks permission for this.
    NoRights,
    /// The portal does not have the table.
    NoDataset,
}

impl Denial {
    /// Interprets an answer; `None` if its status is not a denial.
    pub(super) fn of(answer: &Answer, message: &str) -> Option<Self> {
        let Answer {
            with_token,
            with_login,
            ..
        } = *answer;
        let message = message.to_ascii_lowercase();
        match answer.status {
            StatusCode::NOT_FOUND => Some(Self::NoDataset),
            StatusCode::UNAUTHORIZED if with_login => Some(Self::WrongLogin),
            StatusCode::FORBIDDEN if message.contains("invalid app_token") => {
                Some(Self::WrongToken)
            }
            StatusCode::FORBIDDEN if with_login => Some(Self::NoRights),
            StatusCode::FORBIDDEN if !with_token && message.contains("application token") => {
                Some(Self::NoToken)
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Some(Self::Private { with_token }),
            _ => None,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn todo(self) -> &'static str {
        match self {
            Self::Private { .. } => {
                "set socrata.read_as = \"login\" with an account that may view the table, or make \
                 the table public"
            }
            Self::NoToken => "set socrata.app_token, or try again later",
            Self::WrongToken => "correct or remove socrata.app_token",
            Self::WrongLogin => "correct socrata.username and socrata.password",
            Self::NoRights => "give the account of socrata.username access to the table",
            Self::NoDataset => "correct the dataset's id or socrata.url",
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Private { with_token: false } => {
                "the table is private, and it was read anonymously"
            }
            Self::Private { with_token: true } => {
                "the table is private, and it was read with the app token, which is no login"
            }
            Self::NoToken => "the portal requires an app token for anonymous requests",
            Self::WrongToken => "the portal does not accept the app token",
            Self::WrongLogin => "the portal does not accept the user name and password",
            Self::NoRights => "the account may not view or change the table",
            Self::NoDataset => "the portal has no dataset with this id",
        })
    }
}

impl ReadError {
    /// What a denied request means; `None` if the request failed for another reason.
    #[must_use]
    pub fn denial(&self) -> Option<Denial> {
        match self {
            Self::Request {
                source: RequestError::Denied { denial, .. },
                ..
            } => Some(*denial),
            Self::Request { .. }
            | Self::OutOfDate { .. }
            | Self::FreshnessUnknown { .. }
            | Self::Unsteady { .. }
            | Self::Contradiction { .. }
            | Self::Reshaped { .. }
            | Self::Legacy { .. }
            | Self::KeyTooLong { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;

    fn denial(
        status: u16,
        (with_token, with_login): (bool, bool),
        message: &str,
    ) -> Option<Denial> {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Vec::new(),
            requests: 1,
            with_token,
            with_login,
        };
        Denial::of(&answer, message)
    }

    #[test]
    fn a_denial_is_recognized_by_status_message_and_credentials() {
        const ANONYMOUS: (bool, bool) = (false, false);
        const TOKEN: (bool, bool) = (true, false);
        const LOGIN: (bool, bool) = (false, true);
        let login = "You must be logged in to access this resource";
        let token = "This request must be authenticated or have an application token";
        let private = |with_token| Some(Denial::Private { with_token });
        for (status, credentials, message, expected) in [
            (403, ANONYMOUS, login, private(false)),
            (401, ANONYMOUS, "", private(false)),
            (403, TOKEN, login, private(true)),
            (403, ANONYMOUS, token, Some(Denial::NoToken)),
            (
                403,
                TOKEN,
                "Invalid app_token specified",
                Some(Denial::WrongToken),
            ),
            (
                401,
                LOGIN,
                "Invalid username or password",
                Some(Denial::WrongLogin),
            ),
            (
                403,
                LOGIN,
                "You do not have permission",
                Some(Denial::NoRights),
            ),
            (404, ANONYMOUS, "Not found", Some(Denial::NoDataset)),
            (400, ANONYMOUS, login, None),
            (410, LOGIN, "", None),
            (503, TOKEN, "", None),
        ] {
            assert_eq!(
                denial(status, credentials, message),
                expected,
                "{status} {message}"
            );
        }
    }
}
