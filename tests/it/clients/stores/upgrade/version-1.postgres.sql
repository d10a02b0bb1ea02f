-- The ledger as the first released program left it, with a line in every table. Never changed:
-- what is written here is what an upgrade finds.

create table ledger_leases (
  name text primary key,
  holder text not null,
  until timestamptz not null,
  fence bigint not null
);

create table ledger_passes (
  id text primary key,
  dataset text not null,
  day date not null,
  kind text not null,
  started_at timestamptz not null,
  digest text not null,
  summary jsonb not null,
  steps bigint not null,
  ended_at timestamptz,
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
  at timestamptz not null,
  step text not null,
  detail jsonb not null,
  purged bigint not null,
  primary key (pass, number)
);

create table ledger_days (
  dataset text not null,
  day date not null,
  state text not null,
  since timestamptz not null,
  looked_at timestamptz not null,
  why text,
  cause text,
  counts jsonb not null,
  fingerprint text,
  digest text,
  primary key (dataset, day)
);

create table ledger_sightings (
  dataset text not null,
  day date not null,
  digest text not null,
  first_seen timestamptz not null,
  primary key (dataset, day)
);

create table ledger_marks (
  dataset text not null,
  day date not null,
  kind text not null,
  reason text not null,
  until date,
  marked_at timestamptz not null,
  marked_by text not null,
  primary key (dataset, day)
);

create table ledger_approvals (
  digest text primary key,
  approved_at timestamptz not null,
  approved_by text not null,
  reason text not null,
  used_at timestamptz
);

create table ledger_acts (
  number bigint generated always as identity primary key,
  at timestamptz not null,
  origin text not null,
  act text not null,
  subject text not null,
  reason text not null
);
create index ledger_acts_by_subject on ledger_acts (subject, at);

create table ledger_usual (
  dataset text not null,
  day date not null,
  files bigint not null,
  row_count bigint not null,
  primary key (dataset, day)
);

create table ledger_strays (
  dataset text not null,
  file_day date not null,
  row_day date not null,
  row_key text not null,
  primary key (dataset, file_day, row_day, row_key)
);
create index ledger_strays_by_row_day on ledger_strays (dataset, row_day);

create table ledger_version (version bigint primary key);
insert into ledger_version values (1);

insert into ledger_days values ('camera-counts', '2020-10-01', 'differs', '2020-10-03T10:00:00.000000Z',
  '2020-10-16T10:00:00.000000Z', 'a reason', 'a cause', '{"missing": 12}', null, 'abc');
insert into ledger_days values ('camera-counts', '2020-10-02', 'in-step', '2020-10-04T10:00:00.000000Z',
  '2020-10-16T10:00:00.000000Z', null, null, '{}', 'f1', null);
insert into ledger_passes values ('01752f6c-7a00-7000-8000-000000000001', 'camera-counts', '2020-10-02',
  'repair', '2020-10-04T10:00:00.000000Z', 'abc', '{"steps": 1}', 1, '2020-10-04T10:05:00.000000Z',
  'repaired', 40, 12, 1);
insert into ledger_journal values ('01752f6c-7a00-7000-8000-000000000001', 1,
  '2020-10-04T10:01:00.000000Z', 'purging', '{"purged": 40}', 40);
insert into ledger_marks values ('camera-counts', '2020-09-01', 'known-lost', 'the disk broke', null,
  '2020-10-05T10:00:00.000000Z', 'ann@ops');
insert into ledger_approvals values ('abc', '2020-10-05T10:00:00.000000Z', 'ann@ops', 'seen', null);
insert into ledger_acts (at, origin, act, subject, reason) values ('2020-10-05T10:00:00.000000Z',
  'ann@ops', 'known-lost', 'camera-counts 2020-09-01', 'the disk broke');
insert into ledger_leases values ('repair/camera-counts', '', '1970-01-01T00:00:00.000000Z', 7);
insert into ledger_sightings values ('camera-counts', '2020-10-01', 'abc', '2020-10-16T10:00:00.000000Z');
insert into ledger_usual values ('camera-counts', '2020-10-02', 12, 4800);
insert into ledger_strays values ('camera-counts', '2020-10-02', '2020-10-01', 'k1');
