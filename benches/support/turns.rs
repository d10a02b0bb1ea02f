//! Measures pieces of work alternately, and reads the words after `--` that select what to measure.

use std::fs;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// How often each piece of work runs. The median counts.
pub const TURNS: usize = 9;

/// The words after `--`; `None` unless this is `cargo bench`, which passes `--bench`. Under `cargo
/// test` nothing is measured.
pub fn words() -> Option<Vec<String>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let is_bench = words.iter().any(|word| word == "--bench");
    let named = words.into_iter().filter(|word| !word.starts_with("--"));
    is_bench.then(|| named.collect())
}

/// Whether the words select this part. Without any words, all parts are selected.
pub fn chosen(words: &[String], name: &str) -> bool {
    words.is_empty() || words.iter().any(|word| word == name)
}

/// This thread's CPU time while `work` ran, in milliseconds. `clock_gettime` returns the current
/// value, while `/proc` is updated only at every tick, about 4 ms.
pub fn on_processor(work: &mut dyn FnMut()) -> f64 {
    let now = || {
        let now = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime));
        now.expect("CPU time does not decrease")
    };
    let started = now();
    work();
    now().saturating_sub(started).as_secs_f64() * 1e3
}

pub fn by_clock(work: &mut dyn FnMut()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_secs_f64() * 1e3
}

/// The median time of each piece of work. They are run alternately.
pub fn medians<const N: usize>(
    clock: fn(&mut dyn FnMut()) -> f64,
    mut works: [&mut dyn FnMut(); N],
) -> [f64; N] {
    let mut times = [const { Vec::new() }; N];
    for _ in 0..TURNS {
        for (work, times) in works.iter_mut().zip(&mut times) {
            times.push(clock(work));
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    })
}

/// The peak memory use of the process so far, in bytes.
pub fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has this file");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kilobytes.expect("it has the peak") * 1024
}
