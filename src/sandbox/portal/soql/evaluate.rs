//! Runs a bound query on one state. It uses the narrowest access to the rows (by key, by a column's
//! index, in key order, or all of them), then filters, groups, orders and pages. Without an order,
//! rows are shuffled, and so are ties within an order, because the real server guarantees nothing
//! there.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::super::cell::{Cell, ColumnType};
use super::super::decimal::Decimal;
use super::super::store::{Row, State};
use super::bind::{Aggregate, Bound, Fold, Function, Node};
use super::parser::Op;

/// The rows of an answer, with the counters of the stored rows they come from, if any.
#[derive(Debug, Clone)]
pub(in super::super) struct Answer {
    pub columns: Vec<(String, ColumnType)>,
    pub rows: Vec<Vec<Cell>>,
    pub sids: Vec<u64>,
}

/// The column whose index would help most, for a table with the key column `key`.
pub(in super::super) fn wanted_index(bound: &Bound, key: Option<usize>) -> Option<usize> {
    let ranges = ranges(bound);
    let named = |node: &Node| match node {
        Node::Field(at) if Some(*at) != key => Some(*at),
        _ => None,
    };
    let mut closed = ranges
        .iter()
        .filter(|range| range.low.is_some() && range.high.is_some());
    closed.find_map(|range| named(range.node))
}

/// Computes the answer.
pub(in super::super) fn evaluate(
    bound: &Bound,
    state: &State,
    key: Option<usize>,
    rng: &mut StdRng,
) -> Answer {
    let columns = bound
        .outputs
        .iter()
        .map(|output| (output.name.clone(), output.kind))
        .collect();
    if bound.is_grouped() {
        let rows = grouped(bound, state, key, rng);
        return Answer {
            columns,
            rows,
            sids: Vec::new(),
        };
    }
    let page = page(bound, state, key, rng);
    let rows = page
        .iter()
        .map(|row| outputs(bound, &Context::of(row)))
        .collect();
    Answer {
        columns,
        rows,
        sids: page.iter().map(|row| row.sid).collect(),
    }
}

fn outputs(bound: &Bound, context: &Context<'_>) -> Vec<Cell> {
    bound
        .outputs
        .iter()
        .map(|output| context.value(&output.node).into_owned())
        .collect()
}

fn page<'s>(
    bound: &Bound,
    state: &'s State,
    key: Option<usize>,
    rng: &mut StdRng,
) -> Vec<&'s Arc<Row>> {
    let (skip, take) = (whole(bound.offset), whole(bound.limit));
    let matches = |row: &&'s Arc<Row>| keeps(bound.filter.as_ref(), &Context::of(row));
    if let Some(ordered) = in_order(bound, state, key) {
        return ordered.filter(matches).skip(skip).take(take).collect();
    }
    let mut rows: Vec<&Arc<Row>> = candidates(bound, state, key).filter(matches).collect();
    let unique = |node: &Node| *node == Node::Id || key.is_some_and(|at| *node == Node::Field(at));
    if !bound.order.first().is_some_and(|(node, _)| unique(node)) {
        rows.shuffle(rng);
    }
    if let [(node, descending)] = bound.order.as_slice() {
        rows.sort_by(|a, b| {
            let (a, b) = (Context::of(a), Context::of(b));
            directed(
                *descending,
                a.value(node).as_ref().cmp(b.value(node).as_ref()),
            )
        });
    } else if !bound.order.is_empty() {
        rows.sort_by(|a, b| compare(bound, &Context::of(a), &Context::of(b)));
    }
    rows.into_iter().skip(skip).take(take).collect()
}

fn whole(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn directed(descending: bool, order: std::cmp::Ordering) -> std::cmp::Ordering {
    if descending { order.reverse() } else { order }
}

fn compare(bound: &Bound, a: &Context<'_>, b: &Context<'_>) -> std::cmp::Ordering {
    bound
        .order
        .iter()
        .fold(std::cmp::Ordering::Equal, |order, (node, descending)| {
            order.then_with(|| directed(*descending, a.value(node).cmp(&b.value(node))))
        })
}

/// The lower and upper limits that the filter sets for one column. Both are inclusive, and may
/// include rows that do not pass.
struct Range<'b> {
    node: &'b Node,
    low: Option<&'b Cell>,
    high: Option<&'b Cell>,
}

fn ranges(bound: &Bound) -> Vec<Range<'_>> {
    let mut found: Vec<Range<'_>> = Vec::new();
    let mut open: Vec<&Node> = bound.filter.iter().collect();
    while let Some(node) = open.pop() {
        match node {
            Node::And(a, b) => open.extend([&**a, &**b]),
            Node::Compare(op, column, limit) => {
                let (Node::Field(_) | Node::Id, Node::Const(cell)) = (&**column, &**limit) else {
                    continue;
                };
                if !cell.is_null() {
                    narrow(&mut found, column, *op, cell);
                }
            }
            _ => {}
        }
    }
    found
}

fn narrow<'b>(found: &mut Vec<Range<'b>>, node: &'b Node, op: Op, cell: &'b Cell) {
    let at = found
        .iter()
        .position(|range| range.node == node)
        .unwrap_or_else(|| {
            found.push(Range {
                node,
                low: None,
                high: None,
            });
            found.len() - 1
        });
    let range = &mut found[at];
    if matches!(op, Op::Eq | Op::Gt | Op::Ge) && range.low.is_none_or(|low| cell > low) {
        range.low = Some(cell);
    }
    if matches!(op, Op::Eq | Op::Lt | Op::Le) && range.high.is_none_or(|high| cell < high) {
        range.high = Some(cell);
    }
}

type Rows<'s> = Box<dyn Iterator<Item = &'s Arc<Row>> + 's>;

/// The rows in the requested order, if that is the order of the key or of `:id` and no other column
/// narrows the search better.
fn in_order<'s>(bound: &Bound, state: &'s State, key: Option<usize>) -> Option<Rows<'s>> {
    let (node, descending) = bound.order.first()?;
    if by_keys(bound, key).is_some() || is_sooner_found(bound, state) {
        return None;
    }
    let rows = if *node == Node::Id {
        by_sid(bound, state)
    } else {
        let key = key.filter(|key| *node == Node::Field(*key))?;
        by_key_range(bound, state, key)
    };
    Some(if *descending {
        Box::new(rows.collect::<Vec<_>>().into_iter().rev())
    } else {
        rows
    })
}

fn candidates<'s>(bound: &Bound, state: &'s State, key: Option<usize>) -> Rows<'s> {
    if let Some(keys) = by_keys(bound, key) {
        let keys: BTreeSet<Cell> = keys.iter().cloned().collect();
        return Box::new(
            keys.into_iter()
                .filter_map(|key| state.rows.get(state.by_key.get(&key)?)),
        );
    }
    if let Some((column, low, high)) = indexed(bound, state)
        && let Some(index) = state.index(column)
    {
        if low > high {
            return Box::new(std::iter::empty());
        }
        let found = index.range((low, 0)..=(high, u64::MAX));
        return Box::new(found.filter_map(|(_, sid)| state.rows.get(sid)));
    }
    match key.filter(|key| {
        ranges(bound)
            .iter()
            .any(|range| *range.node == Node::Field(*key))
    }) {
        Some(key) => by_key_range(bound, state, key),
        None => by_sid(bound, state),
    }
}

/// The keys named by `key = …` or `key IN (…)`.
fn by_keys(bound: &Bound, key: Option<usize>) -> Option<&[Cell]> {
    let key = Node::Field(key?);
    let mut open: Vec<&Node> = bound.filter.iter().collect();
    while let Some(node) = open.pop() {
        match node {
            Node::And(a, b) => open.extend([&**a, &**b]),
            Node::In(what, list) if **what == key => return Some(list),
            Node::Compare(Op::Eq, what, to) if **what == key => {
                if let Node::Const(cell) = &**to {
                    return Some(std::slice::from_ref(cell));
                }
            }
            _ => {}
        }
    }
    None
}

fn indexed(bound: &Bound, state: &State) -> Option<(usize, Cell, Cell)> {
    ranges(bound)
        .into_iter()
        .find_map(|range| match (range.node, range.low, range.high) {
            (Node::Field(at), Some(low), Some(high)) if state.has_index(*at) => {
                Some((*at, low.clone(), high.clone()))
            }
            _ => None,
        })
}

/// Whether it is less work to find rows by a column's index and sort them than to walk through the
/// table in its order until the page is full.
fn is_sooner_found(bound: &Bound, state: &State) -> bool {
    let Some((column, low, high)) = indexed(bound, state) else {
        return false;
    };
    let index = state.index(column).filter(|_| low <= high);
    let found = index.map_or(0, |index| index.range((low, 0)..=(high, u64::MAX)).count());
    let sorting = found * (1 + found.max(1).ilog2() as usize);
    let page = whole(bound.offset).saturating_add(whole(bound.limit));
    let walked = page.saturating_mul(state.rows.len()) / found.max(1);
    sorting <= walked.min(state.rows.len())
}

fn by_key_range<'s>(bound: &Bound, state: &'s State, key: usize) -> Rows<'s> {
    let range = ranges(bound)
        .into_iter()
        .find(|range| *range.node == Node::Field(key));
    let low = range
        .as_ref()
        .and_then(|range| range.low)
        .cloned()
        .unwrap_or(Cell::Bool(false));
    let high = range
        .and_then(|range| range.high)
        .cloned()
        .unwrap_or(Cell::Null);
    if low > high {
        return Box::new(std::iter::empty());
    }
    Box::new(
        state
            .by_key
            .range(low..=high)
            .filter_map(|(_, sid)| state.rows.get(sid)),
    )
}

fn by_sid<'s>(bound: &Bound, state: &'s State) -> Rows<'s> {
    let low = ranges(bound)
        .iter()
        .find(|range| *range.node == Node::Id)
        .and_then(|range| match range.low {
            Some(Cell::RowId(sid)) => Some(*sid),
            _ => None,
        });
    Box::new(state.rows.range(low.unwrap_or(0)..).map(|(_, row)| row))
}

fn grouped(bound: &Bound, state: &State, key: Option<usize>, rng: &mut StdRng) -> Vec<Vec<Cell>> {
    let mut groups: BTreeMap<Vec<Cell>, Vec<&Arc<Row>>> = BTreeMap::new();
    for row in candidates(bound, state, key) {
        let context = Context::of(row);
        if keeps(bound.filter.as_ref(), &context) {
            let at = bound
                .group
                .iter()
                .map(|node| context.value(node).into_owned())
                .collect();
            groups.entry(at).or_default().push(row);
        }
    }
    if groups.is_empty() && bound.group.is_empty() {
        groups.insert(Vec::new(), Vec::new());
    }
    let mut contexts: Vec<Context<'_>> = groups
        .values()
        .map(|rows| Context {
            row: rows.first().map(|row| &***row),
            aggregates: bound
                .aggregates
                .iter()
                .map(|one| aggregate(one, rows))
                .collect(),
        })
        .filter(|context| keeps(bound.having.as_ref(), context))
        .collect();
    contexts.shuffle(rng);
    contexts.sort_by(|a, b| compare(bound, a, b));
    let (skip, take) = (whole(bound.offset), whole(bound.limit));
    contexts
        .iter()
        .skip(skip)
        .take(take)
        .map(|context| outputs(bound, context))
        .collect()
}

fn aggregate(aggregate: &Aggregate, rows: &[&Arc<Row>]) -> Cell {
    let Some(arg) = &aggregate.arg else {
        return count(rows.len());
    };
    let cells = rows
        .iter()
        .map(|row| Context::of(row).value(arg).into_owned())
        .filter(|cell| !cell.is_null());
    if aggregate.distinct {
        fold(
            aggregate.fold,
            cells.collect::<BTreeSet<Cell>>().into_iter(),
        )
    } else {
        fold(aggregate.fold, cells)
    }
}

fn fold(fold: Fold, cells: impl Iterator<Item = Cell>) -> Cell {
    match fold {
        Fold::Count => count(cells.count()),
        Fold::Min => cells.min().unwrap_or(Cell::Null),
        Fold::Max => cells.max().unwrap_or(Cell::Null),
        Fold::Sum => sum(cells).map_or(Cell::Null, |(sum, _)| Cell::number(sum)),
        Fold::Avg => sum(cells)
            .and_then(|(sum, count)| sum.over(count))
            .map_or(Cell::Null, Cell::number),
    }
}

fn count(count: usize) -> Cell {
    Cell::number(Decimal::whole(count as u64))
}

fn sum(cells: impl Iterator<Item = Cell>) -> Option<(Decimal, u64)> {
    let mut total = None;
    for cell in cells {
        let (sum, count) = total.unwrap_or((Decimal::ZERO, 0));
        total = Some((sum.plus(cell.decimal()?)?, count + 1));
    }
    total
}

fn keeps(filter: Option<&Node>, context: &Context<'_>) -> bool {
    filter.is_none_or(|node| context.truth(node) == Some(true))
}

/// The values for evaluating an expression: a row, or a group with one of its rows.
struct Context<'s> {
    row: Option<&'s Row>,
    aggregates: Vec<Cell>,
}

impl<'s> Context<'s> {
    fn of(row: &'s Row) -> Context<'s> {
        Context {
            row: Some(row),
            aggregates: Vec::new(),
        }
    }

    fn value<'c>(&'c self, node: &'c Node) -> Cow<'c, Cell> {
        let of_row = |value: fn(&Row) -> Cell| Cow::Owned(self.row.map_or(Cell::Null, value));
        match node {
            Node::Const(cell) => Cow::Borrowed(cell),
            Node::Field(at) => self
                .row
                .map_or(Cow::Owned(Cell::Null), |row| Cow::Borrowed(&row.cells[*at])),
            Node::Id => of_row(|row| Cell::RowId(row.sid)),
            Node::Version => of_row(|row| Cell::Version(row.version)),
            Node::Created => of_row(|row| Cell::Fixed(row.created)),
            Node::Updated => of_row(|row| Cell::Fixed(row.updated)),
            Node::Aggregate(at) => Cow::Borrowed(&self.aggregates[*at]),
            Node::Negated(inner) => Cow::Owned(
                self.value(inner)
                    .decimal()
                    .map_or(Cell::Null, |decimal| Cell::number(decimal.negated())),
            ),
            Node::Call(function, args) => {
                let args: Vec<Cow<'_, Cell>> = args.iter().map(|arg| self.value(arg)).collect();
                Cow::Owned(call(*function, &args).unwrap_or(Cell::Null))
            }
            Node::Compare(..)
            | Node::And(..)
            | Node::Or(..)
            | Node::Not(_)
            | Node::In(..)
            | Node::Like(..)
            | Node::IsNull(_) => Cow::Owned(self.truth(node).map_or(Cell::Null, Cell::Bool)),
        }
    }

    /// `None` means unknown, as in SQL.
    fn truth(&self, node: &Node) -> Option<bool> {
        match node {
            Node::And(a, b) => match (self.truth(a), self.truth(b)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Node::Or(a, b) => match (self.truth(a), self.truth(b)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Node::Not(a) => self.truth(a).map(|truth| !truth),
            Node::IsNull(a) => Some(self.value(a).is_null()),
            Node::Compare(op, a, b) => compared(*op, &self.value(a), &self.value(b)),
            Node::In(what, list) => {
                let what = self.value(what);
                let known = !what.is_null();
                known.then(|| list.binary_search(&what).is_ok())
            }
            Node::Like(what, pattern) => match (&*self.value(what), &*self.value(pattern)) {
                (Cell::Text(what), Cell::Text(pattern)) => Some(like(what, pattern)),
                _ => None,
            },
            _ => match &*self.value(node) {
                Cell::Bool(value) => Some(*value),
                _ => None,
            },
        }
    }
}

fn compared(op: Op, a: &Cell, b: &Cell) -> Option<bool> {
    if a.is_null() || b.is_null() {
        return None;
    }
    let order = a.cmp(b);
    Some(match op {
        Op::Eq => order.is_eq(),
        Op::Ne => order.is_ne(),
        Op::Lt => order.is_lt(),
        Op::Le => order.is_le(),
        Op::Gt => order.is_gt(),
        Op::Ge => order.is_ge(),
    })
}

/// `%` matches any text, `_` any letter. There is no escape.
fn like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) =
        (text.chars().collect(), pattern.chars().collect());
    let (mut at, mut wanted) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(wanted) {
            Some('%') => {
                star = Some((at, wanted));
                wanted += 1;
            }
            Some(letter) if *letter == '_' || *letter == text[at] => {
                at += 1;
                wanted += 1;
            }
            _ => {
                let Some((from, star_at)) = star else {
                    return false;
                };
                star = Some((from + 1, star_at));
                (at, wanted) = (from + 1, star_at + 1);
            }
        }
    }
    pattern[wanted..].iter().all(|letter| *letter == '%')
}

fn call(function: Function, args: &[Cow<'_, Cell>]) -> Option<Cell> {
    let text = |at: usize| match args[at].as_ref() {
        Cell::Text(text) => Some(Arc::clone(text)),
        _ => None,
    };
    match function {
        Function::Lower => Some(Cell::Text(text(0)?.to_lowercase().into())),
        Function::Upper => Some(Cell::Text(text(0)?.to_uppercase().into())),
        Function::StartsWith => Some(Cell::Bool(text(0)?.starts_with(&*text(1)?))),
        Function::Contains => Some(Cell::Bool(text(0)?.contains(&*text(1)?))),
        Function::Substring => {
            let number = |at: usize| i64::try_from(args[at].decimal()?.mantissa).ok();
            let start = number(1)?;
            let end = if args.len() > 2 {
                start.checked_add(number(2)?)?
            } else {
                i64::MAX
            };
            let letters = (1_i64..).zip(text(0)?.chars().collect::<Vec<_>>());
            let kept: String = letters
                .filter(|(at, _)| (start..end).contains(at))
                .map(|(_, letter)| letter)
                .collect();
            Some(Cell::Text(kept.into()))
        }
        Function::TruncDay => truncated(&args[0], Some),
        Function::TruncMonth => truncated(&args[0], |date| date.with_day(1)),
        Function::TruncYear => truncated(&args[0], |date| date.with_ordinal(1)),
    }
}

fn truncated(cell: &Cell, truncate: fn(NaiveDate) -> Option<NaiveDate>) -> Option<Cell> {
    let (at, rebuilt): (i64, fn(i64) -> Cell) = match cell {
        Cell::Floating(at) => (*at, Cell::Floating),
        Cell::Fixed(at) => (*at, Cell::Fixed),
        _ => return None,
    };
    let date = truncate(DateTime::from_timestamp_millis(at)?.date_naive())?;
    Some(rebuilt(
        date.and_time(NaiveTime::MIN).and_utc().timestamp_millis(),
    ))
}
