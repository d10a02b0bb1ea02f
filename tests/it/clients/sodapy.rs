//! The stand-in portal works with sodapy, a client that was not written for it.

use std::net::SocketAddr;

use sodalake::sandbox::portal::{ColumnType, Portal, PortalOptions, TableSpec};

const MISSING: i32 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn sodapy_reads_upserts_and_deletes() {
    let portal = Portal::new(PortalOptions::default());
    let columns = [
        ("record_id", ColumnType::Text),
        ("volume", ColumnType::Number),
    ];
    portal.create(TableSpec::new("abcd-2345", &columns, Some("record_id")));
    let serving = portal
        .serve(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .unwrap();
    let address = serving.addr.to_string();
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/sodapy_client.py");
    let output = tokio::task::spawn_blocking(move || {
        std::process::Command::new(python)
            .args([script, &address])
            .output()
    });
    let output = output
        .await
        .unwrap()
        .expect("python starts; set PYTHON or use tests/run");
    assert_ne!(
        output.status.code(),
        Some(MISSING),
        "sodapy is missing: run the tests by tests/run"
    );
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(portal.rows("abcd-2345").len(), 3);
    serving.stop().await;
}
