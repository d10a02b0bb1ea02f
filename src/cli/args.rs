//! Arguments that several commands share: the range of days, and the flags of every command.

use std::fmt;
use std::path::PathBuf;

use chrono::Utc;
use clap::{Args, ColorChoice, ValueEnum};

use crate::model::{Day, DayRange, KeyScheme};
use crate::telemetry::LogFormat;

/// Flags that every command has.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Read the settings from FILE
    #[arg(
        long,
        global = true,
        env = "SODALAKE_CONFIG",
        value_name = "FILE",
        help_heading = "Common",
        long_help = "Read the settings from FILE [default: /etc/sodalake/sodalake.toml]"
    )]
    pub config: Option<PathBuf>,
    /// Log more to stderr; repeat for debug output
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Common")]
    pub verbose: u8,
    /// Log only errors and hide progress bars
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Common"
    )]
    pub quiet: bool,
    /// Format of log lines [default: text on a terminal, otherwise json]
    #[arg(
        long,
        global = true,
        value_enum,
        env = "SODALAKE_LOG_FORMAT",
        help_heading = "Common"
    )]
    pub log_format: Option<LogFormat>,
    /// When to use colors
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, help_heading = "Common")]
    pub color: ColorChoice,
}

/// The output format, for commands that offer a choice.
#[derive(Args, Clone, Copy, Debug)]
pub struct FormatArg {
    /// Output format: text, or one JSON object per line
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// How results are written to stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Human-readable text
    Text,
    /// One JSON object per line
    Json,
}

/// How closely a day is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Depth {
    /// Count the rows of all days with one request, and check only days that changed
    Survey,
    /// Compare every key of the day
    Keys,
    /// Compare every value of every row
    Content,
}

/// How closely a day is checked, for commands that need its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum RowDepth {
    /// Compare every key of the day
    Keys,
    /// Compare every value of every row
    Content,
}

impl From<RowDepth> for crate::compare::Depth {
    fn from(depth: RowDepth) -> Self {
        match depth {
            RowDepth::Keys => Self::Keys,
            RowDepth::Content => Self::Content,
        }
    }
}

/// How a row's key is made, as a value of `--key-scheme`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeySchemeArg {
    /// Current scheme: the row's own key fields
    Row,
    /// Used until December 2020: all rows of the file up to and including this one
    Chained,
    /// Used for radar data from before the data lake existed
    Kits,
}

impl From<KeySchemeArg> for KeyScheme {
    fn from(arg: KeySchemeArg) -> Self {
        match arg {
            KeySchemeArg::Row => Self::Row,
            KeySchemeArg::Chained => Self::Chained,
            KeySchemeArg::Kits => Self::Kits,
        }
    }
}

/// How Bluetooth addresses were numbered, as a value of `--counter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CounterArg {
    /// `unmatched` continues the numbering of `matched`
    Shared,
    /// Each file starts its own numbering
    Separate,
}

impl From<CounterArg> for crate::expected::Counter {
    fn from(arg: CounterArg) -> Self {
        match arg {
            CounterArg::Shared => Self::Shared,
            CounterArg::Separate => Self::Separate,
        }
    }
}

/// The days a command works on: `--partition`, `--from` with `--to`, or `--last`.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct RangeArgs {
    /// One day, for example 2020-10-01
    #[arg(
        long,
        visible_alias = "day",
        value_name = "P",
        help_heading = "Range",
        conflicts_with_all = ["from", "to", "last"]
    )]
    pub partition: Option<Day>,
    /// First day of the range
    #[arg(
        long,
        value_name = "DAY",
        help_heading = "Range",
        requires = "to",
        conflicts_with = "last"
    )]
    pub from: Option<Day>,
    /// End of the range, exclusive: the day after the last one
    #[arg(
        long,
        value_name = "DAY",
        help_heading = "Range",
        requires = "from",
        conflicts_with = "last"
    )]
    pub to: Option<Day>,
    /// The last N days before today [default: the window from the settings]
    #[arg(long, value_name = "N", help_heading = "Range", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub last: Option<u32>,
}

/// A range without a single day.
#[derive(Debug, PartialEq, Eq)]
pub struct EmptyRange {
    from: Day,
    to: Day,
}

impl fmt::Display for EmptyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(
            f,
            "--from {from} --to {to} is empty: --to is the day after the last one"
        )
    }
}

/// The range that the arguments select.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// Exactly these days.
    Days(DayRange),
    /// This many days before today.
    Last(u32),
    /// No range was given: the dataset's window.
    Window,
}

impl RangeArgs {
    /// The range that the arguments select.
    ///
    /// # Errors
    /// If `--to` is not after `--from`. [`super::parse`] rejects such a command line.
    pub fn span(&self) -> Result<Span, EmptyRange> {
        let Self {
            partition,
            from,
            to,
            last,
        } = *self;
        match (partition, from, to, last) {
            (Some(day), ..) => Ok(Span::Days(DayRange::one(day))),
            (None, Some(from), Some(to), _) if from < to => Ok(Span::Days(DayRange { from, to })),
            (None, Some(from), Some(to), _) => Err(EmptyRange { from, to }),
            (None, _, _, Some(days)) => Ok(Span::Last(days)),
            (None, _, _, None) => Ok(Span::Window),
        }
    }
}

impl Span {
    /// The days, for a dataset in `zone` whose window is `window_days` long. `Last` and `Window` end
    /// before today, where today is the day of `now` in `zone`.
    #[must_use]
    pub fn days(
        self,
        now: chrono::DateTime<Utc>,
        zone: chrono_tz::Tz,
        window_days: u32,
    ) -> DayRange {
        let back = |days: u32| {
            let to = Day::at(now, zone);
            let from = to.plus(-i64::from(days));
            DayRange { from, to }
        };
        match self {
            Self::Days(range) => range,
            Self::Last(days) => back(days),
            Self::Window => back(window_days),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    #[test]
    fn to_is_exclusive() {
        let args = RangeArgs {
            from: Some(day("2020-10-01")),
            to: Some(day("2020-10-03")),
            ..RangeArgs::default()
        };
        let Ok(Span::Days(range)) = args.span() else {
            panic!("{args:?} is a range");
        };
        assert_eq!(range.days().count(), 2);

        let turned = RangeArgs {
            to: Some(day("2020-10-01")),
            ..args
        };
        assert!(turned.span().is_err());
    }

    #[test]
    fn last_and_window_end_before_today_in_the_datasets_zone() {
        let now = "2020-10-02T03:00:00Z".parse().unwrap();
        let zone = chrono_tz::America::Chicago;
        let range = Span::Last(1).days(now, zone, 30);
        assert_eq!(
            (range.from, range.to),
            (day("2020-09-30"), day("2020-10-01"))
        );
        assert_eq!(Span::Window.days(now, zone, 30).days().count(), 30);
    }
}
