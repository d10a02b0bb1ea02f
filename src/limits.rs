//! How much of what lies on this machine is read at most. A file that a person names by mistake, such
//! as a device without end, or that someone else may write, must not take all memory.
//!
//! Limits of what comes over the wire stand with the client that reads it; all of them are listed in
//! docs/safety.md.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Longest settings file, in bytes.
pub const SETTINGS_BYTES: u64 = 1 << 20;
/// Longest file of one secret, or of certificates, in bytes.
pub const SECRET_BYTES: u64 = 1 << 20;
/// Longest line of a plan file, in bytes: a step holds two rows at most.
pub const PLAN_LINE_BYTES: u64 = 32 << 20;

/// A text file, whole.
///
/// # Errors
/// If it cannot be read, is longer than `most` bytes or is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(most + 1).read_to_string(&mut text)?;
    if text.len() as u64 > most {
        let what = format!("it is longer than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit_and_not_beyond() {
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
