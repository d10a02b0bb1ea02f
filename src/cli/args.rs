//! The arguments several commands share: the range of days, and the flags every command has.

use std::fmt;
use std::path::PathBuf;

use chrono::Utc;
use clap::{Args, ColorChoice, ValueEnum};

use crate::model::{Day, DayRange, KeyRecipe};
use crate::telemetry::LogFormat;

/// Flags of every command.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Settings file
    #[arg(
        long,
        global = true,
        env = "SODALAKE_CONFIG",
        value_name = "FILE",
        help_heading = "Common",
        long_help = "Settings file [default: /etc/sodalake/sodalake.toml]"
    )]
    pub config: Option<PathBuf>,
    /// Text for people, or one JSON object a line
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, help_heading = "Common")]
    pub format: Format,
    /// How closely to look; the settings' schedule decides where it is left out
    #[arg(long, global = true, value_enum, help_heading = "Common")]
    pub depth: Option<Depth>,
    /// More to read on stderr; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Common")]
    pub verbose: u8,
    /// Only errors on stderr, and no progress bars
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Common"
    )]
    pub quiet: bool,
    /// Log lines for people or for machines [default: text on a terminal, else json]
    #[arg(
        long,
        global = true,
        value_enum,
        env = "SODALAKE_LOG_FORMAT",
        help_heading = "Common"
    )]
    pub log_format: Option<LogFormat>,
    /// Colours in the output
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, help_heading = "Common")]
    pub color: ColorChoice,
}

/// How results are written to stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How closely a day is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Depth {
    /// Rows per day, one request for the whole range
    Survey,
    /// Every key of the day
    Keys,
    /// Every value of every row
    Content,
}

/// How a row's key is made, as `--recipe` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RecipeArg {
    /// Today's: each row's own key fields
    Row,
    /// Until December 2020: all rows of the file up to this one
    Chained,
    /// Radar before the lake
    Kits,
}

impl From<RecipeArg> for KeyRecipe {
    fn from(arg: RecipeArg) -> Self {
        match arg {
            RecipeArg::Row => Self::Row,
            RecipeArg::Chained => Self::Chained,
            RecipeArg::Kits => Self::Kits,
        }
    }
}

/// How addresses were numbered, as `--counter` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CounterArg {
    /// `unmatched` goes on with the table of `matched`
    Shared,
    /// Each file begins anew
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

/// The days a command is about: `--day`, `--from` with `--to`, or `--last`.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct RangeArgs {
    /// One day, such as 2020-10-01
    #[arg(long, value_name = "DAY", help_heading = "Range", conflicts_with_all = ["from", "to", "last"])]
    pub day: Option<Day>,
    /// First day
    #[arg(
        long,
        value_name = "DAY",
        help_heading = "Range",
        requires = "to",
        conflicts_with = "last"
    )]
    pub from: Option<Day>,
    /// The day after the last
    #[arg(
        long,
        value_name = "DAY",
        help_heading = "Range",
        requires = "from",
        conflicts_with = "last"
    )]
    pub to: Option<Day>,
    /// The last N days before today [default: the settings' window]
    #[arg(long, value_name = "N", help_heading = "Range", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub last: Option<u32>,
}

/// A range that holds no day.
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
            "--from {from} --to {to} holds no day: --to is the day after the last"
        )
    }
}

/// What the range arguments ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// These days.
    Days(DayRange),
    /// The last so many days before today.
    Last(u32),
    /// Nothing was said: the dataset's window.
    Window,
}

impl RangeArgs {
    /// What is asked for.
    ///
    /// # Errors
    /// If `--to` does not lie after `--from`. [`super::parse`] has ruled it out.
    pub fn span(&self) -> Result<Span, EmptyRange> {
        let Self {
            day,
            from,
            to,
            last,
        } = *self;
        match (day, from, to, last) {
            (Some(day), ..) => Ok(Span::Days(DayRange::one(day))),
            (None, Some(from), Some(to), _) if from < to => Ok(Span::Days(DayRange { from, to })),
            (None, Some(from), Some(to), _) => Err(EmptyRange { from, to }),
            (None, _, _, Some(days)) => Ok(Span::Last(days)),
            (None, _, _, None) => Ok(Span::Window),
        }
    }
}

impl Span {
    /// The days, for a dataset in `zone` that looks `window_days` back. `Last` and `Window` end
    /// before today, the day that `now` falls on there.
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
    fn to_is_the_day_after_the_last() {
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
