//! The description of the API for programs: `openapi.json` in this folder, served with our version.

use axum::Json;
use serde_json::Value;

const DESCRIPTION: &str = include_str!("openapi.json");

/// The description, with the version of this program.
#[must_use]
pub(super) fn description() -> Value {
    let mut description: Value =
        serde_json::from_str(DESCRIPTION).expect("a test parses the description");
    description["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    description
}

/// `GET /api/v1/openapi.json`.
pub(super) async fn serve() -> Json<Value> {
    Json(description())
}
