//! One target for every door: `SODALAKE_DOOR=plan` names it. So all of them are built at once.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sodalake::fuzzing::{DOORS, Door};

static DOOR: LazyLock<Door> = LazyLock::new(|| {
    let name = std::env::var("SODALAKE_DOOR").unwrap_or_default();
    let named = DOORS.iter().find(|door| door.name == name);
    *named.unwrap_or_else(|| {
        let names: Vec<_> = DOORS.iter().map(|door| door.name).collect();
        panic!("SODALAKE_DOOR is {name:?}, not one of {}", names.join(", "))
    })
});

fuzz_target!(|bytes: &[u8]| (DOOR.enter)(bytes));
