//! What is broken in the demo's month, and where.

use anyhow::{Context as _, Result};
use chrono::{DateTime, Duration, Utc};

use crate::cli::Format;
use crate::cli::report::wrapped;
use crate::cli::style::{Tone, paint, print};
use crate::model::{Day, DayRange};
use crate::sandbox::city::{Breakage, BreakageError, Injected, Place, Source, Table, ZONE};
use crate::sandbox::stage::Stage;

/// One fault of the month.
struct Fault {
    breakage: Breakage,
    table: Table,
    day: i64,
    /// Break every file of the day, not only the first that can be broken this way.
    whole_day: bool,
    words: &'static str,
}

pub(super) struct Script {
    pub(super) days: DayRange,
    faults: Vec<Fault>,
}

/// When the regular publisher writes a day (UTC): 8:30 local time on the day after.
pub(super) fn published_at(day: Day) -> DateTime<Utc> {
    day.end(ZONE) + Duration::minutes(8 * 60 + 30)
}

const fn fault(breakage: Breakage, table: Table, day: i64, words: &'static str) -> Fault {
    Fault {
        breakage,
        table,
        day,
        whole_day: false,
        words,
    }
}

const fn whole_day(breakage: Breakage, table: Table, day: i64, words: &'static str) -> Fault {
    Fault {
        breakage,
        table,
        day,
        whole_day: true,
        words,
    }
}

impl Script {
    /// Thirty days around the autumn clock change of 2020, with every kind of breakage we know.
    pub(super) fn for_month() -> Self {
        let from = Day::new(chrono::NaiveDate::from_ymd_opt(2020, 10, 8).unwrap_or_default());
        let faults = vec![
            whole_day(
                Breakage::OtherSpelling,
                Table::CameraCounts,
                2,
                "a second publisher, which spells the streets differently, wrote the day too",
            ),
            whole_day(
                Breakage::ChainedAgain,
                Table::RadarCounts,
                5,
                "an old publisher with the chained hasher wrote the day too",
            ),
            fault(
                Breakage::NeverPublished,
                Table::CameraCounts,
                7,
                "a camera file was never published",
            ),
            fault(
                Breakage::TailLost,
                Table::TravelTimes,
                9,
                "the publisher crashed in the middle of the file",
            ),
            fault(
                Breakage::StaleValues,
                Table::CameraCounts,
                11,
                "the file was corrected after it was published",
            ),
            fault(
                Breakage::OtherCounter,
                Table::DeviceReads,
                13,
                "the day was published again in a run that numbers devices differently",
            ),
            fault(
                Breakage::Strangers(5),
                Table::RadarCounts,
                15,
                "five rows appeared that are in no file",
            ),
            fault(
                Breakage::Strangers(60),
                Table::TravelTimes,
                17,
                "sixty rows appeared that are in no file: more than may be purged without approval",
            ),
            fault(
                Breakage::OnlyCatalogued,
                Table::RadarCounts,
                19,
                "the catalog says published, but no row exists",
            ),
            fault(
                Breakage::GhostEntry,
                Table::CameraCounts,
                21,
                "the catalog names a published file that does not exist",
            ),
            fault(
                Breakage::NotCatalogued,
                Table::RadarCounts,
                23,
                "all rows exist, but the catalog does not say so",
            ),
            fault(
                Breakage::FileLost,
                Table::CameraCounts,
                26,
                "a file disappeared from the lake: the portal holds the last copy of its rows",
            ),
        ];
        Self {
            days: DayRange {
                from,
                to: from.plus(30),
            },
            faults,
        }
    }

    /// The days to publish: one more than checked, since the next day's file can hold rows of a day.
    pub(super) fn published(&self) -> DayRange {
        let DayRange { from, to } = self.days;
        DayRange {
            from,
            to: to.next(),
        }
    }

    /// Breaks the published month and returns the findings that a check must report.
    pub(super) fn break_days(&self, stage: &Stage, format: Format) -> Result<Vec<Injected>> {
        let mut injected = Vec::new();
        let mut said = paint(Tone::Strong, "Broken on purpose") + "\n";
        for fault in &self.faults {
            let day = self.days.from.plus(fault.day);
            let done = fault
                .carry_out(stage, day)
                .with_context(|| format!("cannot break {day}"))?;
            let dataset = fault.table.dataset_name();
            said.push_str(&wrapped(&format!("{dataset} {day} {}", fault.words)));
            injected.extend(done);
        }
        if format == Format::Text {
            print(&format!("{said}\n"))?;
        }
        Ok(injected)
    }
}

impl Fault {
    fn carry_out(&self, stage: &Stage, day: Day) -> Result<Vec<Injected>> {
        let mut injected = Vec::new();
        for base in bases(stage, self.table, day) {
            let place = Place {
                table: self.table,
                day,
                base,
            };
            let written = published_at(day) + Duration::minutes(1);
            match stage.damage(self.breakage, &place, written) {
                Ok(done) => injected.extend(done),
                Err(BreakageError::NothingToBreak { .. }) => continue,
                Err(error) => return Err(error.into()),
            }
            if !self.whole_day {
                break;
            }
        }
        anyhow::ensure!(
            !injected.is_empty(),
            "no {} could be broken",
            self.table.dataset_name()
        );
        Ok(injected)
    }
}

fn bases(stage: &Stage, table: Table, day: Day) -> Vec<String> {
    let source: Source = table.source();
    let files = stage.city.day_files(source, day).into_iter();
    files
        .filter(|file| file.ext == table.ext())
        .map(|file| file.base)
        .collect()
}
