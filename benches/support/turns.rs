//! Taking times in turns, and the words behind `--` that choose what is measured.

use std::fs;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// How often each of a pair is run; the medians count.
pub const TURNS: usize = 9;

/// The words behind `--`; `None` unless this is `cargo bench`, which passes `--bench`: under
/// `cargo test` there is nothing to measure.
pub fn words() -> Option<Vec<String>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let is_bench = words.iter().any(|word| word == "--bench");
    let named = words.into_iter().filter(|word| !word.starts_with("--"));
    is_bench.then(|| named.collect())
}

/// Whether the words choose this part; none choose all.
pub fn chosen(words: &[String], name: &str) -> bool {
    words.is_empty() || words.iter().any(|word| word == name)
}

/// Milliseconds that this thread was on a processor while `work` ran. The kernel is asked by a call
/// that brings its account up to date; what `/proc` tells is as of the last tick, some 4 ms ago.
pub fn on_processor(work: &mut dyn FnMut()) -> f64 {
    let now = || {
        let now = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime));
        now.expect("time on a processor does not go back")
    };
    let begun = now();
    work();
    now().saturating_sub(begun).as_secs_f64() * 1e3
}

pub fn by_clock(work: &mut dyn FnMut()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64() * 1e3
}

/// The median time of each piece of work, all of them taken in turns.
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

/// The most memory the process has taken so far.
pub fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kilobytes.expect("the peak is in it") * 1024
}
