//! The usual metrics of our own process, as exported by the Prometheus client libraries. They are
//! read from `/proc` when they are collected; without `/proc` there are none.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// The metrics, as last collected.
pub(super) struct Process {
    cpu_seconds: Counter,
    resident_bytes: Gauge,
    virtual_bytes: Gauge,
    start_time: Gauge,
    threads: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
}

/// The fields we need of `/proc/self/stat`.
struct Stat {
    cpu_seconds: f64,
    threads: f64,
    /// Seconds between the start of the machine and that of the process.
    started: f64,
    virtual_bytes: f64,
    resident_bytes: f64,
}

impl Process {
    pub(super) fn new() -> prometheus::Result<Self> {
        let gauge = |name, help| Gauge::new(format!("process_{name}"), help);
        let process = Self {
            cpu_seconds: Counter::new(
                "process_cpu_seconds_total",
                "Total user and system CPU time spent in seconds.",
            )?,
            resident_bytes: gauge("resident_memory_bytes", "Resident memory size in bytes.")?,
            virtual_bytes: gauge("virtual_memory_bytes", "Virtual memory size in bytes.")?,
            start_time: gauge(
                "start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
            )?,
            threads: gauge("threads", "Number of OS threads in the process.")?,
            open_fds: gauge("open_fds", "Number of open file descriptors.")?,
            max_fds: gauge("max_fds", "Maximum number of open file descriptors.")?,
        };
        let limit = getrlimit(Resource::Nofile).current;
        process.max_fds.set(float(limit.unwrap_or(u64::MAX)));
        if let (Some(booted), Some(stat)) = (boot_time(), Stat::read()) {
            process.start_time.set(booted + stat.started);
        }
        Ok(process)
    }

    fn refresh(&self) {
        if let Some(stat) = Stat::read() {
            let spent = stat.cpu_seconds - self.cpu_seconds.get();
            self.cpu_seconds.inc_by(spent.max(0.0));
            self.threads.set(stat.threads);
            self.virtual_bytes.set(stat.virtual_bytes);
            self.resident_bytes.set(stat.resident_bytes);
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            self.open_fds.set(float(open.count() as u64));
        }
    }

    fn parts(&self) -> [&dyn Collector; 7] {
        let Self {
            cpu_seconds,
            resident_bytes,
            virtual_bytes,
            start_time,
            threads,
            open_fds,
            max_fds,
        } = self;
        [
            cpu_seconds,
            resident_bytes,
            virtual_bytes,
            start_time,
            threads,
            open_fds,
            max_fds,
        ]
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.parts().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.refresh();
        self.parts()
            .into_iter()
            .flat_map(Collector::collect)
            .collect()
    }
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parsed(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// The fields of proc(5), counted from 1. The name in field 2 may contain anything, so fields are
    /// counted from its closing parenthesis.
    fn parsed(stat: &str) -> Option<Self> {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse().ok().map(float);
        let ticks = float(clock_ticks_per_second());
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / ticks,
            threads: field(20)?,
            started: field(22)? / ticks,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * float(page_size() as u64),
        })
    }
}

/// When the machine was booted, in seconds since the epoch.
fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok().map(float)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus only has floats, and no value here comes near 2^53"
)]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 1 2 3 4 150 50 0 0 20 0 9 0 300 4096 2 0";
        let stat = Stat::parsed(stat).expect("every field is there");
        let ticks = float(clock_ticks_per_second());
        assert!((stat.cpu_seconds - 200.0 / ticks).abs() < 1e-9);
        assert!((stat.started - 300.0 / ticks).abs() < 1e-9);
        assert!((stat.threads - 9.0).abs() < 1e-9);
        assert!((stat.virtual_bytes - 4096.0).abs() < 1e-9);
        assert!((stat.resident_bytes - 2.0 * float(page_size() as u64)).abs() < 1e-9);
    }

    #[test]
    fn every_process_metric_is_collected() {
        let process = Process::new().expect("the names are valid");
        let families = process.collect();
        assert_eq!(families.len(), 7);
        for family in families {
            let metric = &family.get_metric()[0];
            let value = match family.name() {
                "process_cpu_seconds_total" => metric.get_counter().get_value() + 1.0,
                _ => metric.get_gauge().get_value(),
            };
            assert!(value >= 1.0, "{} is {value}", family.name());
        }
        assert_eq!(process.desc().len(), 7);
    }
}
