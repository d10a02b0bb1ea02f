//! Limits on how much of a local file is read. A file that an operator names by mistake, such as an
//! endless device, or that another user can write, must not use up the memory.
//!
//! Limits on data from the network are in the client that reads it. docs/safety.md lists all of
//! them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Maximum size of a settings file, in bytes.
pub const SETTINGS_BYTES: u64 = 1 << 20;
/// Maximum size of a file with a secret or certificates, in bytes.
pub const SECRET_BYTES: u64 = 1 << 20;
/// Maximum length of a line of a plan file, in bytes. A step has at most two rows.
pub const PLAN_LINE_BYTES: u64 = 32 << 20;

/// Reads a whole text file.
///
/// # Errors
/// If it cannot be read, is longer than `max` bytes or is not UTF-8.
pub fn read_text(path: &Path, max: u64) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > max {
        let what = format!("it is longer than {max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_over_its_limit_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("text");
        std::fs::write(&file, "12345").unwrap();
        assert_eq!(read_text(&file, 5).unwrap(), "12345");
        assert_eq!(
            read_text(&file, 4).unwrap_err().kind(),
            io::ErrorKind::FileTooLarge
        );
        assert!(read_text(Path::new("/dev/zero"), 1 << 10).is_err());
    }
}
