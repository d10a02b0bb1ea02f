//! The supported part of `SoQL`: `lexer` makes tokens, `parser` makes a query, `bind` resolves its
//! names and types for one table, and `evaluate` runs it on one state. Clauses may be separate
//! parameters or one `$query` statement.

mod bind;
mod evaluate;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;

pub(super) use bind::bind;
pub(super) use evaluate::{Answer, evaluate, wanted_index};
pub(super) use parser::{Query, parse_clause, parse_statement, simple_filter};

/// Why a query is refused. The codes are those of the real server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SoqlError {
    #[error("Could not parse SoQL query \"{text}\" at line 1 character {at}: {what}")]
    Parse {
        text: String,
        at: usize,
        what: String,
    },
    #[error("No such column: {0}")]
    NoSuchColumn(String),
    #[error("No such function `{0}'")]
    NoSuchFunction(String),
    #[error("Type mismatch for {function}, is {actual}")]
    TypeMismatch { function: String, actual: String },
    #[error("Cannot use aggregate functions here: {0}")]
    AggregateOutside(String),
    #[error("Column not in group bys: {0}")]
    NotInGroupBys(String),
    #[error("Cannot filter by an expression of type {0}")]
    NonBooleanWhere(&'static str),
    #[error("Cannot order by an expression of type {0}")]
    Unorderable(&'static str),
    #[error("Duplicate alias: {0}")]
    DuplicateAlias(String),
}

impl SoqlError {
    /// The error code; `None` for a parse error, which another part of the real server reports.
    pub(super) fn code(&self) -> Option<&'static str> {
        Some(match self {
            SoqlError::Parse { .. } => return None,
            SoqlError::NoSuchColumn(_) => "query.soql.no-such-column",
            SoqlError::NoSuchFunction(_) => "query.soql.no-such-function",
            SoqlError::TypeMismatch { .. } => "query.soql.type-mismatch",
            SoqlError::AggregateOutside(_) => "query.soql.aggregate-in-ungrouped-context",
            SoqlError::NotInGroupBys(_) => "query.soql.column-not-in-group-bys",
            SoqlError::NonBooleanWhere(_) => "query.soql.non-boolean-where",
            SoqlError::Unorderable(_) => "query.soql.un-orderable-order",
            SoqlError::DuplicateAlias(_) => "query.soql.duplicate-alias",
        })
    }
}
