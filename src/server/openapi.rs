//! The API described for programs: `openapi.json` beside this file, served with our version in it.

use axum::Json;
use serde_json::Value;

const DESCRIPTION: &str = include_str!("openapi.json");

/// The description, with the version of this program.
#[must_use]
pub(super) fn description() -> Value {
    let mut description: Value =
        serde_json::from_str(DESCRIPTION).expect("a test reads the description");
    description["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    description
}

/// `GET /api/v1/openapi.json`.
pub(super) async fn serve() -> Json<Value> {
    Json(description())
}
