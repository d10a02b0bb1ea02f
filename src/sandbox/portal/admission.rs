//! Access and limits: app tokens and their request limits, logins and their rights, and the number
//! of concurrent requests per dataset.

#![expect(
    clippy::result_large_err,
    reason = "a refusal is an answer, and ends the request"
)]

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::Portal;
use super::faults::Operation;
use super::http::text;
use super::reply::Reply;

/// Someone who may log in by HTTP Basic.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    pub(super) name: String,
    password: String,
    may_write: bool,
    sees_private: bool,
}

impl User {
    /// A user by name and password.
    #[must_use]
    pub fn new(name: &str, password: &str, may_write: bool) -> User {
        User {
            name: name.to_owned(),
            password: password.to_owned(),
            may_write,
            sees_private: true,
        }
    }

    /// The same user without access to private tables.
    #[must_use]
    pub fn without_private_tables(self) -> User {
        User {
            sees_private: false,
            ..self
        }
    }
}

impl Portal {
    pub(super) fn throttle(&self, client: &str) -> Result<(), Reply> {
        let Some(throttle) = &self.inner.options.throttle else {
            return Ok(());
        };
        let length = i64::from(throttle.seconds.max(1));
        let now = self.now().timestamp();
        let window = now.div_euclid(length);
        let mut windows = self.inner.windows.lock();
        let seen = windows.entry(client.to_owned()).or_insert((window, 0));
        if seen.0 != window {
            *seen = (window, 0);
        }
        seen.1 += 1;
        if seen.1 <= throttle.requests {
            return Ok(());
        }
        let left = u32::try_from((window + 1) * length - now).unwrap_or(throttle.seconds);
        Err(throttled(throttle.sends_retry_after.then_some(left)))
    }

    pub(super) fn check_token(&self, token: Option<&str>) -> Result<(), Reply> {
        let known = |token: &str| {
            self.inner
                .options
                .app_tokens
                .iter()
                .any(|known| known == token)
        };
        match token {
            Some(token) if !known(token) => Err(Reply::refused(
                403,
                "permission_denied",
                "Invalid app_token specified",
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn login(&self, headers: &HeaderMap) -> Result<Option<&User>, Reply> {
        let Some(sent) = text(headers, header::AUTHORIZATION) else {
            return Ok(None);
        };
        let decoded = sent
            .strip_prefix("Basic ")
            .and_then(|coded| STANDARD.decode(coded).ok());
        let pair = decoded
            .and_then(|pair| String::from_utf8(pair).ok())
            .unwrap_or_default();
        let (name, password) = pair.split_once(':').unwrap_or_default();
        let mut users = self.inner.options.users.iter();
        let found = users.find(|user| user.name == name && user.password == password);
        found.map(Some).ok_or_else(|| {
            let message = "Invalid username or password";
            Reply::refused(401, "authentication_required", message)
                .header("www-authenticate", "Basic realm=\"Socrata\"")
        })
    }

    pub(super) fn permit(
        &self,
        operation: Operation,
        dataset: Option<&str>,
        user: Option<&User>,
    ) -> Result<(), Reply> {
        let private = dataset
            .and_then(|id| self.table(id))
            .is_some_and(|table| table.read().schema.private);
        let writes = operation == Operation::Write;
        match user {
            None if writes || private => Err(Reply::refused(
                403,
                "authentication_required",
                "You must be logged in to access this resource",
            )),
            Some(user) if writes && !user.may_write => Err(Reply::refused(
                403,
                "permission_denied",
                "You do not have permission to edit this dataset",
            )),
            Some(user) if private && !user.sees_private => Err(Reply::refused(
                403,
                "permission_denied",
                "You do not have permission to view this dataset",
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn enter(&self, dataset: Option<&str>) -> Result<Option<Running<'_>>, Reply> {
        let (Some(max), Some(id)) = (self.inner.options.max_concurrent, dataset) else {
            return Ok(None);
        };
        let mut running = self.inner.running.lock();
        let count = running.entry(id.to_owned()).or_default();
        if *count >= max {
            return Err(throttled(None));
        }
        *count += 1;
        Ok(Some(Running {
            portal: self,
            dataset: id.to_owned(),
        }))
    }
}

/// A request in progress, as counted for the limit per dataset.
pub(super) struct Running<'p> {
    portal: &'p Portal,
    dataset: String,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.portal.inner.running.lock().get_mut(&self.dataset) {
            *count -= 1;
        }
    }
}

pub(super) fn throttled(retry_after: Option<u32>) -> Reply {
    let reply = Reply::failed(429, "too-many-requests", "Too many requests", &json!({}));
    match retry_after {
        Some(seconds) => reply.header("retry-after", seconds.to_string()),
        None => reply,
    }
}
