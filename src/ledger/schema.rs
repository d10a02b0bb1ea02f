//! The ledger's tables. A migration that was released is never changed; new ones are appended.

use crate::database::Kind;

/// Holds the number of every migration that was applied.
pub(super) const VERSION_TABLE: &str = "ledger_version";

/// In order. `{time}`, `{day}`, `{json}` and `{serial}` are replaced by the types of the database.
const MIGRATIONS: [&str; 8] = [
    "
create table ledger_leases (
  name text primary key,
  holder text not null,
  until {time} not null,
  fence bigint not null
);

create table ledger_passes (
  id text primary key,
  dataset text not null,
  day {day} not null,
  kind text not null,
  started_at {time} not null,
  digest text not null,
  summary {json} not null,
  steps bigint not null,
  ended_at {time},
  outcome text,
  purged bigint not null,
  published bigint not null,
  catalog_changes bigint not null
);
create index ledger_passes_by_day on ledger_passes (dataset, day, started_at);
create index ledger_passes_by_start on ledger_passes (dataset, started_at);

create table ledger_journal (
  pass text not null references ledger_passes (id),
  number bigint not null,
  at {time} not null,
  step text not null,
  detail {json} not null,
  purged bigint not null,
  primary key (pass, number)
);

create table ledger_days (
  dataset text not null,
  day {day} not null,
  state text not null,
  since {time} not null,
  looked_at {time} not null,
  why text,
  cause text,
  counts {json} not null,
  fingerprint text,
  digest text,
  primary key (dataset, day)
);

create table ledger_sightings (
  dataset text not null,
  day {day} not null,
  digest text not null,
  first_seen {time} not null,
  primary key (dataset, day)
);

create table ledger_marks (
  dataset text not null,
  day {day} not null,
  kind text not null,
  reason text not null,
  until {day},
  marked_at {time} not null,
  marked_by text not null,
  primary key (dataset, day)
);

create table ledger_approvals (
  digest text primary key,
  approved_at {time} not null,
  approved_by text not null,
  reason text not null,
  used_at {time}
);

create table ledger_acts (
  number {serial},
  at {time} not null,
  origin text not null,
  act text not null,
  subject text not null,
  reason text not null
);
create index ledger_acts_by_subject on ledger_acts (subject, at);

create table ledger_usual (
  dataset text not null,
  day {day} not null,
  files bigint not null,
  row_count bigint not null,
  primary key (dataset, day)
);

create table ledger_strays (
  dataset text not null,
  file_day {day} not null,
  row_day {day} not null,
  row_key text not null,
  primary key (dataset, file_day, row_day, row_key)
);
create index ledger_strays_by_row_day on ledger_strays (dataset, row_day)
",
    "
create table ledger_queue (
  dataset text not null,
  day {day} not null,
  reasons bigint not null,
  rank bigint not null,
  depth bigint not null,
  queued_at {time} not null,
  due_at {time} not null,
  tries bigint not null,
  ticket bigint not null,
  claimed_by text,
  claimed_until {time},
  primary key (dataset, day)
);
create index ledger_queue_by_order on ledger_queue (rank, due_at);

create table ledger_schedules (
  dataset text not null,
  schedule text not null,
  due_at {time} not null,
  queued_for {time} not null,
  done_for {time} not null,
  done_at {time},
  failure text,
  walk_next {day},
  walk_oldest {day},
  primary key (dataset, schedule)
)
",
    "
alter table ledger_days add column expected bigint;
alter table ledger_days add column published bigint;
alter table ledger_days add column guards text;
alter table ledger_days add column open_since {time};
alter table ledger_days add column pass text;
alter table ledger_days add column told text;

create table ledger_evidence (
  dataset text not null,
  day {day} not null,
  evidence {json} not null,
  primary key (dataset, day)
);

create table ledger_changes (
  number {serial},
  dataset text not null,
  day {day} not null,
  at {time} not null,
  was text not null,
  state text not null,
  why text,
  cause text,
  digest text,
  guards text not null,
  pass text,
  tries bigint not null,
  due_at {time} not null,
  told_at {time}
);
create index ledger_changes_by_day on ledger_changes (dataset, day);
create index ledger_changes_untold on ledger_changes (number) where told_at is null;

create table ledger_digests (
  day {day} primary key,
  told_at {time} not null
)
",
    "
alter table ledger_days add column plan_depth text;
alter table ledger_days add column plan_strategy text;
alter table ledger_changes add column plan_depth text;
alter table ledger_changes add column plan_strategy text
",
    "
alter table ledger_days add column notified text;
update ledger_days set notified = coalesce(
  (select was from ledger_changes as untold
   where untold.dataset = ledger_days.dataset and untold.day = ledger_days.day
     and untold.told_at is null
   order by number limit 1), told);

create table ledger_pauses (
  name text primary key,
  until {time} not null,
  failures bigint not null
)
",
    "
alter table ledger_days add column depth bigint;
alter table ledger_days add column altered_rows bigint;
alter table ledger_days add column altered_cause text;
alter table ledger_days add column altered_at {time};
alter table ledger_days add column outside text;
alter table ledger_days add column revision bigint not null default 0
",
    "
alter table ledger_leases add column since {time};
alter table ledger_leases add column lasts bigint
",
    r#"
alter table ledger_days rename column looked_at to checked_at;
alter table ledger_strays rename to ledger_misdated;
update ledger_days set digest = null where state = 'held';
update ledger_days set state = 'in-sync' where state = 'in-step';
update ledger_days set told = 'in-sync' where told = 'in-step';
update ledger_days set notified = 'in-sync' where notified = 'in-step';
update ledger_changes set state = 'in-sync' where state = 'in-step';
update ledger_changes set was = 'in-sync' where was = 'in-step';
update ledger_passes set outcome = 'in-sync' where outcome = 'in-step';
update ledger_passes set summary =
  cast(replace(cast(summary as text), '"mend"', '"repair"') as {json});
update ledger_days set counts =
  cast(replace(cast(counts as text), '"twins"', '"duplicates"') as {json});
update ledger_evidence set evidence =
  cast(replace(cast(evidence as text), '"twin"', '"duplicate"') as {json})
"#,
];

/// The migrations with the types of `kind`.
pub(super) fn migrations(kind: Kind) -> Vec<String> {
    let (time, day, json, serial) = match kind {
        Kind::Postgres => (
            "timestamptz",
            "date",
            "jsonb",
            "bigint generated always as identity primary key",
        ),
        Kind::Sqlite => ("text", "text", "text", "integer primary key autoincrement"),
    };
    MIGRATIONS
        .iter()
        .map(|migration| {
            migration
                .replace("{time}", time)
                .replace("{day}", day)
                .replace("{json}", json)
                .replace("{serial}", serial)
        })
        .collect()
}
